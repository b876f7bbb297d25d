"""What each command's `--help` ends with: command lines as people type them. docs/cli.md shows the same ones."""

from collections.abc import Iterator
from typing import Any

from typer.core import TyperGroup

#: By the words after `orchestrator`: command lines, each with what it does behind a `#`. A test parses all of them.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "plan": (
        "orchestrator plan batch.yaml  # every fault with its place, and the price",
        "orchestrator plan batch.yaml --compare  # only what is new",
        "orchestrator plan batch.yaml --job mug  # the request of one job",
        "orchestrator plan batch.yaml -o plan.json  # to submit exactly this later",
    ),
    "submit": (
        "orchestrator submit batch.yaml --sandbox  # tried out, nothing is spent",
        "orchestrator submit batch.yaml --max-credits 500  # asks before it spends",
        "orchestrator submit batch.yaml --canary 1  # one job of each model first",
        "orchestrator submit batch.yaml --yes --detach --json  # from a script",
        "orchestrator submit batch.yaml --again --job mug  # one job once more",
    ),
    "resume": (
        "orchestrator resume  # everything that is unfinished",
        "orchestrator resume spring-catalog",
    ),
    "pause": ("orchestrator pause spring-catalog  # go on with: orchestrator resume",),
    "cancel": ("orchestrator cancel spring-catalog",),
    "retry": (
        "orchestrator retry spring-catalog  # all that failed",
        "orchestrator retry spring-catalog --error provider-failed",
        "orchestrator retry spring-catalog --job mug --again  # its payment was lost",
    ),
    "approve": (
        "orchestrator approve spring-catalog  # the canaries are fine",
        "orchestrator approve spring-catalog --job mug  # one gate",
    ),
    "reject": ("orchestrator reject spring-catalog --job mug",),
    "resolve": (
        "orchestrator resolve latest --job mug --as not-charged  # send it again",
        "orchestrator resolve latest --job mug --as charged  # count it as spent",
        "orchestrator resolve latest --all --as not-charged  # all that is in doubt in it",
        "orchestrator resolve latest --job mug --request-id 0f3f2c1e-5a64-4b7e-9d5e-2f6f0c8a1b2c",
    ),
    "adopt": ("orchestrator adopt 0f3f2c1e-5a64-4b7e-9d5e-2f6f0c8a1b2c --name found",),
    "export": (
        "orchestrator export spring-catalog > files.csv  # one row a file",
        "orchestrator export spring-catalog --json > jobs.json",
        "orchestrator export spring-catalog --manifest --state failed > fix.yaml",
    ),
    "report": (
        "orchestrator report spring-catalog --html spring.html  # then open it",
        "orchestrator report latest --html s3://shop-media/reports/spring.html --links-for 2d",
    ),
    "review apply": ("orchestrator review apply decisions.json  # prices other takes, and asks",),
    "status": (
        "orchestrator status  # the recent batches, what needs a person first",
        "orchestrator status latest",
        "orchestrator status spring-catalog --json",
    ),
    "jobs": (
        "orchestrator jobs latest --state failed",
        "orchestrator jobs latest --by error  # how many failed of what",
        "orchestrator jobs latest --error moderation --csv > refused.csv",
    ),
    "watch": ("orchestrator watch latest",),
    "wait": (
        "orchestrator wait latest --timeout 6h",
        "orchestrator wait latest --tolerate 1%  # a few failures are no error",
    ),
    "models": (
        "orchestrator models --type video --feature 'last frame'",
        "orchestrator models seedance-2-0  # one model in full",
        "orchestrator models --refresh  # ask the provider what changed",
    ),
    "balance": ("orchestrator balance",),
    "doctor": ("orchestrator doctor",),
    "prune": ("orchestrator prune --older-than 90d",),
    "sandbox": (
        "orchestrator sandbox --port 8700  # for KATANA_BASE_URL=http://127.0.0.1:8700",
        "orchestrator sandbox --time-scale 0 --balance 500",
    ),
    "worker": (
        "orchestrator worker",
        "orchestrator worker --steps copy  # needs no keys",
    ),
    "init": (
        "orchestrator init  # writes batch.yaml",
        "orchestrator init spring.yaml",
    ),
    "schema": ("orchestrator schema > manifest.schema.json",),
    "attest": ("orchestrator attest glm-5-1-private",),
    "budget set": (
        "orchestrator budget set --daily 500 --monthly 20usd",
        "orchestrator budget set --daily none  # takes the cap away",
        "orchestrator budget set --batch spring-catalog --credits 800",
        "orchestrator budget set --daily 5usdc --payment x402-base",
    ),
    "budget show": ("orchestrator budget show",),
    "wallet top-up": ("orchestrator wallet top-up 5 --network base",),
    "wallet balance": ("orchestrator wallet balance",),
    "wallet transactions": ("orchestrator wallet transactions --network solana",),
    "ledger": (
        "orchestrator ledger spring-catalog",
        "orchestrator ledger --by model --from 2026-11-01",
        "orchestrator ledger --csv > ledger.csv",
        "orchestrator ledger --check  # do the books balance? exit 1 where not",
        "orchestrator ledger statement 2026-11  # a month against the provider's balance",
    ),
    "ledger statement": ("orchestrator ledger statement 2026-11",),
    "schedule add": (
        "orchestrator schedule add jobs/nightly-catalog.yaml",
        "orchestrator schedule add batch.yaml --cron '0 2 * * *' --tz Europe/Berlin",
    ),
    "schedule apply": ("orchestrator schedule apply nightly/spring.yaml nightly/summer.yaml",),
    "schedule list": ("orchestrator schedule list",),
    "schedule pause": ("orchestrator schedule pause spring-catalog",),
    "schedule resume": ("orchestrator schedule resume spring-catalog",),
    "schedule remove": ("orchestrator schedule remove spring-catalog",),
    "schedule run-now": ("orchestrator schedule run-now spring-catalog",),
    "db upgrade": ("orchestrator db upgrade  # before a new release's workers start",),
    "db copy": ("orchestrator db copy --to postgresql://orchestrator@db/orchestrator  # PGPASSWORD: its password",),
    "db recover": ("orchestrator db recover  # after a backup was put back",),
    "convert venice": ("orchestrator convert venice bodies.jsonl > batch.yaml",),
}


def commands(group: TyperGroup, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command below a group, and the words that call it; of a group that is a command, too, the group's words."""
    for name, command in group.commands.items():
        words = f"{path} {name}".strip()
        if isinstance(command, TyperGroup):
            yield from commands(command, words)
        else:
            yield words, command


def add_examples(group: TyperGroup) -> None:
    """End the help of each command below a group with its examples."""
    for words, command in commands(group):
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in aligned(EXAMPLES.get(words, ())))


def aligned(examples: tuple[str, ...]) -> list[str]:
    """Examples with what they do one under the other."""
    parts = [example.split("  # ") for example in examples]
    width = max((len(line) for line, *about in parts if about), default=0)
    return [f"{line:<{width}}  # {about[0]}" if about else line for line, *about in parts]
