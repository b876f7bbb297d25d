"""What may happen: each mishap befalls a site and says so in words. The dice decide which, where and for how long."""

import random
import subprocess
import time
from collections.abc import Callable

from .site import Site

Mishap = Callable[[Site, random.Random], str]

#: Longer than the lease of a paid POST (6 min) and of a poll (3 min).
_PAST_A_LEASE_SECONDS = 400
_PAID_FAULTS = (
    "drop-after-charge",
    "drop-before-charge",
    "500-after-charge",
    "500-before-charge",
    "502-html-after-charge",
    "garbage",
    "slow",
    "429",
    "partial-failure",
)
#: In force all the time: kills should find paid requests on the wire.
SLOW = {"at": "submit", "kind": "slow", "times": None, "probability": 0.4, "seconds": 0.7}
_POLL_FAULTS = ("404", "429", "500", "drop", "slow", "unknown-status", "missing-responses", "no-original")
_ASSET_FAULTS = ("403", "500", "corrupt", "empty", "html", "slow", "truncated", "truncated-no-length")


def kill_a_worker(site: Site, dice: random.Random) -> str:
    worker = dice.choice(site.workers)
    worker.kill()
    time.sleep(dice.uniform(0, 2))
    worker.start()
    return f"{worker.name} killed"


def freeze_a_worker(site: Site, dice: random.Random) -> str:
    worker, seconds = dice.choice(site.workers), dice.uniform(1, 6)
    worker.freeze()
    time.sleep(seconds)
    worker.thaw()
    return f"{worker.name} frozen for {seconds:.1f} s"


def freeze_a_worker_past_its_leases(site: Site, dice: random.Random) -> str:
    """The others take up what it holds; then it wakes and writes."""
    worker = dice.choice(site.workers)
    worker.freeze()
    site.advance_clock(_PAST_A_LEASE_SECONDS)
    time.sleep(dice.uniform(6, 9))
    worker.thaw()
    return f"{worker.name} frozen past its leases"


def terminate_a_worker(site: Site, dice: random.Random) -> str:
    worker = dice.choice(site.workers)
    worker.terminate()
    time.sleep(dice.uniform(0, 1))
    worker.terminate()
    time.sleep(dice.uniform(0.5, 2))
    worker.kill()
    worker.start()
    return f"{worker.name} asked to stop, twice, then killed"


def kill_beat(site: Site, dice: random.Random) -> str:
    site.beat.kill()
    time.sleep(dice.uniform(0, 1))
    site.beat.start()
    return "beat killed"


def kill_redis(site: Site, dice: random.Random) -> str:
    site.redis.kill()
    time.sleep(dice.uniform(0, 5))
    site.redis.start()
    return "Redis killed, and empty when it came back"


def flush_redis(site: Site, _: random.Random) -> str:
    site.redis.flush()
    return "FLUSHALL"


def kill_postgres(site: Site, dice: random.Random) -> str:
    site.kill_postgres()
    time.sleep(dice.uniform(0, 3))
    site.start_postgres()
    return "Postgres killed"


def kill_the_provider(site: Site, dice: random.Random) -> str:
    site.provider.kill()
    seconds = dice.uniform(0, 8)
    time.sleep(seconds)
    site.start()
    site.play(SLOW)
    return f"the provider down for {seconds:.1f} s"


def freeze_the_store(site: Site, dice: random.Random) -> str:
    site.store.freeze()
    seconds = dice.uniform(1, 8)
    time.sleep(seconds)
    site.store.thaw()
    return f"the S3 server frozen for {seconds:.1f} s"


def kill_all_at_once(site: Site, _: random.Random) -> str:
    """Power loss. The S3 server stays: it keeps its objects in memory only."""
    for child in (site.provider, site.beat, *site.workers):
        child.kill()
    site.redis.kill()
    site.kill_postgres()
    site.start()
    return "everything killed at once"


def provider_faults(site: Site, dice: random.Random) -> str:
    rules = [
        {"at": at, "kind": dice.choice(kinds), "times": dice.randint(1, 3), "seconds": 2.0, "retry_after": 0.5}
        for at, kinds in (("submit", _PAID_FAULTS), ("poll", _POLL_FAULTS), ("asset", _ASSET_FAULTS))
    ]
    site.play(*rules, SLOW)
    return "faults: " + ", ".join(f"{rule['times']} x {rule['at']} {rule['kind']}" for rule in rules)


def submit_another(site: Site, dice: random.Random) -> str:
    jobs = dice.randint(5, 30)
    budget = dice.choice([None, None, jobs * 3])
    payment = dice.choice(["credits", "credits", "x402-base"])
    result = site.submit(jobs, bundle=dice.choice([1, 1, 3]), budget=budget, payment=payment)
    return f"another batch of {jobs} jobs, paid by {payment} (exit {result.returncode})"


def a_person_at_work(site: Site, dice: random.Random) -> str:
    """Pause, resume or cancel whatever there is; the command may meet a dead database."""
    verb = dice.choice(["pause", "resume", "resume", "cancel"])
    batches = site.batches()
    if not batches:
        return "nobody there yet"
    batch = dice.choice(sorted(batches))
    yes = ["--yes"] if verb == "resume" else []
    try:
        code = site.orchestrator(verb, batch, *yes, seconds=30).returncode
    except subprocess.TimeoutExpired:
        return f"{verb} {batch} took too long"
    return f"{verb} {batch} (exit {code})"


#: Each mishap and how often it comes, compared with the others.
MISHAPS: tuple[tuple[Mishap, int], ...] = (
    (kill_a_worker, 5),
    (freeze_a_worker, 2),
    (freeze_a_worker_past_its_leases, 2),
    (terminate_a_worker, 1),
    (kill_beat, 1),
    (kill_redis, 2),
    (flush_redis, 2),
    (kill_postgres, 3),
    (kill_the_provider, 2),
    (freeze_the_store, 1),
    (kill_all_at_once, 1),
    (provider_faults, 6),
    (submit_another, 4),
    (a_person_at_work, 3),
)
