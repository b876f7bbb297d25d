"""A wallet's balance as its users have it: topped up once, whatever happens, and spent by batches."""

import shlex
import signal
import time
from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest

from orchestrator.base.ethereum import Account  # eth-account, kept harmless
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from tests.acceptance.conftest import Cli, finish

Env = dict[str, str]
JOBS = [
    {"id": f"mug-{n}", "type": "image", "model": "gen", "prompt": f"A mug {n}", "aspect_ratio": "1:1"} for n in range(3)
]


@pytest.fixture
def env(provider: Sandbox) -> Iterator[Env]:
    """A wallet of this test's own."""
    url = provider.base_url
    yield {
        "KATANA_BASE_URL": url,
        "BASE_RPC_URL": f"{url}/rpc/base",
        "SOLANA_RPC_URL": f"{url}/rpc/solana",
        "EVM_PRIVATE_KEY": "0x" + Account.create().key.hex().removeprefix("0x"),
    }
    provider.play(Faults())


def top_ups(cli: Cli, env: Env) -> list[Decimal]:
    """What the provider booked, as it tells."""
    told = cli("wallet", "transactions", "--json", env=env).json["transactions"]
    return [Decimal(entry["usdc"]) for entry in told if entry["type"] == "top_up"]


def is_struck(provider: Sandbox) -> bool:
    """Whether the fault that is in force has struck."""
    return any(rule["struck"] for rule in httpx.get(f"{provider.base_url}/sandbox/faults").json()["rules"])


def test_a_top_up_is_priced_agreed_to_and_credited(cli: Cli, env: Env) -> None:
    refused = cli("wallet", "top-up", "1.5", env=env)
    assert refused.code == 3
    assert "1.5 USDC are credited, 1.503938 USDC are paid from 0x" in refused.stderr
    assert top_ups(cli, env) == []
    done = cli("wallet", "top-up", "1.5", "--yes", "--json", env=env)
    assert done.code == 0
    document = done.json
    assert (document["state"], document["confirmed"], document["earlier"]) == ("settled", True, False)
    assert (document["credited_usdc"], document["paid_usdc"]) == ("1.5", "1.503938")
    assert (document["balance_usdc"], document["network"]) == ("1.5", "base")
    assert document["transaction"].startswith("0x")
    balance = cli("wallet", "balance", "--json", env=env).json
    assert balance == {"network": "base", "wallet": document["wallet"], "usdc": "1.5"}
    assert "1.5 USDC" in cli("wallet", "balance", env=env).stdout
    assert top_ups(cli, env) == [Decimal("1.5")]


@pytest.mark.parametrize("amount", ["0", "-1", "x", "1.0000001", "NaN", "1e-7", "1e3", "10000000000"])
def test_an_amount_has_to_be_one(cli: Cli, env: Env, amount: str) -> None:
    assert cli("wallet", "top-up", "--yes", "--", amount, env=env).code == 2


def test_a_wallet_needs_its_key(cli: Cli, env: Env) -> None:
    without = {name: value for name, value in env.items() if name != "EVM_PRIVATE_KEY"}
    refused = cli("wallet", "balance", env=without)
    assert refused.code == 4
    assert "EVM_PRIVATE_KEY" in refused.stderr
    bad = cli("wallet", "top-up", "1", "--yes", env=env | {"EVM_PRIVATE_KEY": "0xnot-a-key-at-all"})
    assert bad.code == 4
    assert "not-a-key-at-all" not in bad.stdout + bad.stderr
    assert cli("wallet", "balance", "--network", "solana", env=env).code == 4


@pytest.mark.parametrize("kind", ["pay-to", "asset", "network", "scheme", "no-header", "not-base64", "no-offers"])
def test_an_offer_that_is_not_as_expected_is_not_signed(cli: Cli, env: Env, provider: Sandbox, kind: str) -> None:
    assert cli("wallet", "top-up", "1", "--yes", env=env).code == 0  # whom to pay is pinned
    provider.play(Faults.of(FaultRule(at="offer", kind=kind)))
    refused = cli("wallet", "top-up", "2", "--yes", env=env)
    assert refused.code == 3, refused.stderr
    assert "nothing was signed" in refused.stderr
    assert top_ups(cli, env) == [Decimal(1)]


def test_a_dearer_offer_is_not_signed(cli: Cli, env: Env, provider: Sandbox) -> None:
    provider.play(Faults.of(FaultRule(at="offer", kind="price", factor=Decimal("1.1"))))
    refused = cli("wallet", "top-up", "1", "--yes", env=env)
    assert refused.code == 3
    assert "at most 1.01 USDC" in refused.stderr


@pytest.mark.parametrize(
    "kind", ["drop-after-charge", "drop-before-charge", "502-html-after-charge", "402-after-charge"]
)
def test_a_lost_answer_is_asked_for_again_with_the_same_payment(
    cli: Cli, env: Env, provider: Sandbox, kind: str
) -> None:
    provider.play(Faults.of(FaultRule(at="top-up", kind=kind)))
    done = cli("wallet", "top-up", "2", "--yes", "--json", env=env)
    assert (done.code, done.json["confirmed"]) == (0, True)
    assert top_ups(cli, env) == [Decimal(2)]


def test_killed_after_it_was_sent_the_same_command_pays_nothing_more(cli: Cli, env: Env, provider: Sandbox) -> None:
    provider.play(Faults.of(FaultRule(at="top-up", kind="slow", seconds=30)))
    started = cli.start("wallet", "top-up", "3", "--yes", env=env)
    deadline = time.monotonic() + 40
    while not is_struck(provider) and time.monotonic() < deadline:
        time.sleep(0.1)
    started.send_signal(signal.SIGKILL)
    assert finish(started).code == -signal.SIGKILL
    provider.play(Faults())
    again = cli("wallet", "top-up", "3", "--yes", "--json", env=env)
    assert again.code == 0, again.stderr
    assert top_ups(cli, env) == [Decimal(3)]


def test_a_batch_is_paid_from_the_balance(cli: Cli, env: Env) -> None:
    file = cli.manifest("from-balance", JOBS, payment="wallet-base")
    refused = cli("submit", file, "--yes", env=env)
    assert refused.code == 3
    command = refused.stderr.split("hint: ")[1].split("\n")[0]
    assert command == "orchestrator wallet top-up 0.0468 --network base"
    assert cli(*shlex.split(command)[1:], "--yes", env=env).code == 0
    done = cli("submit", file, "--yes", "--json", env=env)
    assert done.code == 0, done.stderr
    assert done.json["usdc"]["spent"] == "0.0468"
    assert cli("wallet", "balance", "--json", env=env).json["usdc"] == "0"


def test_what_the_wallet_cannot_pay_is_not_signed(cli: Cli, env: Env) -> None:
    refused = cli("wallet", "top-up", "1000", "--yes", env=env)
    assert refused.code == 3
    assert "has 1000 USDC on Base, and this costs 1000.003938; nothing was signed" in refused.stderr
    assert cli("wallet", "top-up", "1", "--yes", env=env).code == 0


def test_what_the_balance_lacks_holds_the_batch_with_the_command(cli: Cli, env: Env, provider: Sandbox) -> None:
    assert cli("wallet", "top-up", "0.05", "--yes", env=env).code == 0
    provider.play(Faults.of(FaultRule(at="submit", kind="price", factor=Decimal(5), times=None)))
    held = cli("submit", cli.manifest("lacking", JOBS, payment="wallet-base"), "--yes", "--json", env=env)
    assert held.code == 3, held.stderr
    (hold,) = held.json["holds"]
    assert hold["code"] == "balance-low"
    assert "lacks" in hold["message"]
    assert hold["command"].startswith("orchestrator wallet top-up ")
    assert hold["command"].endswith(" --network base")
    assert "wait behind it" in hold["message"]
    provider.play(Faults())
    assert cli(*shlex.split(hold["command"])[1:], "--yes", env=env).code == 0
    done = cli("resume", "lacking", "--yes", "--json", env=env)
    assert done.code == 0, done.stderr
    assert done.json["usdc"]["spent"] == "0.0468"


def test_a_lost_answer_of_a_batch_is_found_by_the_transactions(cli: Cli, env: Env, provider: Sandbox) -> None:
    assert cli("wallet", "top-up", "0.05", "--yes", env=env).code == 0
    provider.play(Faults.of(FaultRule(at="submit", kind="drop-after-charge")))
    done = cli("submit", cli.manifest("found", JOBS, payment="wallet-base"), "--yes", "--json", env=env)
    assert done.code == 0, done.stdout + done.stderr
    assert done.json["usdc"]["spent"] == "0.0468"
    assert cli("wallet", "balance", "--json", env=env).json["usdc"] == "0.0032"
