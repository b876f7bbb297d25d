"""Run mishaps against a site for a while, heal everything, and audit what became of it.

Exit code 0 when every invariant holds. The seed decides the mishaps, not how the processes interleave.
"""

import argparse
import random
import sys
import time

from sqlalchemy import text

from ..auditor import Auditor
from .mishaps import MISHAPS, SLOW
from .site import EVM_KEY, SECRET, Site, make_site, summary

_FIRST_BATCHES = 3
_REST_SECONDS = 240.0
#: Past the 15 minutes after which readings of the balance may settle what is in doubt.
_PAST_DOUBT_SECONDS = 1000


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    say(f"seed {seed}, {options.seconds:g} s of mishaps")
    with make_site() as site:
        say(f"logs in {site.folder}")
        site.start()
        site.make_bucket()
        befall(site, random.Random(seed), options.seconds)
        heal(site)
        wrong = audit(site)
        if wrong:
            say(f"{len(wrong)} violations; again: make chaos SEED={seed}")
            for line in wrong:
                say(f"  {line}")
            raise SystemExit(1)  # keeps the folder
    return 0


def befall(site: Site, dice: random.Random, seconds: float) -> None:
    """One mishap after the other until the time is over."""
    site.play(SLOW)
    for _ in range(_FIRST_BATCHES):
        site.submit(30, bundle=1, budget=None)
    site.submit(10, bundle=1, budget=None, payment="x402-base")
    mishaps, weights = zip(*MISHAPS, strict=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        say(dice.choices(mishaps, weights)[0](site, dice))
        time.sleep(dice.uniform(0.3, 3))


def heal(site: Site) -> None:
    """No more faults, everything runs, a person resumes what is held or paused, and time passes."""
    say("healing")
    site.start()
    site.play()
    with site.database.begin() as connection:
        connection.execute(text("UPDATE pace SET paused_until = NULL"))
    rest(site)
    site.advance_clock(_PAST_DOUBT_SECONDS)
    for batch, state in site.batches().items():
        if state in ("held", "paused"):
            site.orchestrator("resume", batch, "--yes")
    rest(site)


def rest(site: Site) -> None:
    """Until no batch runs any more, and a little longer."""
    until = time.monotonic() + _REST_SECONDS
    while "running" in site.batches().values() and time.monotonic() < until:
        time.sleep(0.5)
    time.sleep(3)


def audit(site: Site) -> list[str]:
    """What is wrong after all."""
    for worker in (*site.workers, site.beat):
        worker.terminate()
    time.sleep(5)
    for worker in (*site.workers, site.beat):
        worker.kill()
    say(summary(site))
    say("batches: " + ", ".join(f"{batch} {state}" for batch, state in sorted(site.batches().items())))
    auditor = Auditor(read_file=site.read_file, secrets=[SECRET, EVM_KEY])
    with site.database.begin() as connection:
        return auditor.rest(connection, site.movements(), site.settlements())


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
