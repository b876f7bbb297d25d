"""`submit` paid in USDC: on the stand-in provider to its end, and what is refused before anything is signed."""

import csv
import re
import signal
from collections.abc import Iterator
from decimal import Decimal
from io import StringIO

import pytest
from solders.keypair import Keypair

from orchestrator.sandbox import Sandbox
from tests.acceptance.conftest import CREDENTIALS, MUG, Cli, finish

#: Throwaway keys: nobody has money there.
EVM_KEY = "0x" + "11" * 32
EVM_ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
CUP = MUG | {"id": "cup", "prompt": "A cup"}
USDC_PRICE = Decimal("0.0728") * 2


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The settings of someone who has a wallet for Base at a stand-in provider, with its stand-in chains."""
    with Sandbox(tmp_path_factory.mktemp("provider"), time_scale=0) as sandbox:
        yield {
            "KATANA_BASE_URL": sandbox.base_url,
            "BASE_RPC_URL": f"{sandbox.base_url}/rpc/base",
            "SOLANA_RPC_URL": f"{sandbox.base_url}/rpc/solana",
            "EVM_PRIVATE_KEY": EVM_KEY,
        }


@pytest.mark.parametrize("payment", ["x402-base", "x402-solana", "wallet-base", "wallet-solana"])
def test_a_sandbox_batch_of_any_payment_needs_no_key(cli: Cli, payment: str) -> None:
    result = cli("submit", cli.manifest(f"trial-{payment}", [MUG, CUP], payment=payment), "--sandbox", "--json")
    assert result.code == 0, result.stderr
    document = result.json
    assert (document["state"], document["payment"], document["jobs"]["completed"]) == ("completed", payment, 2)
    assert document["credits"]["estimated"] == "28"
    spent = Decimal(document["usdc"]["spent"])
    assert spent > USDC_PRICE if payment.startswith("x402") else spent == USDC_PRICE
    assert (document["usd"]["spent"], document["usdc"]["reserved"]) == (document["usdc"]["spent"], "0")


def test_a_recipient_that_is_set_is_not_the_sandboxs(cli: Cli, provider: dict[str, str]) -> None:
    elsewhere = {"ORCHESTRATOR_PAY_TO_BASE": EVM_ADDRESS}
    manifest = cli.manifest("set", [MUG], payment="x402-base")
    assert cli("submit", manifest, "--sandbox", env=elsewhere).code == 0
    refused = cli("submit", manifest, "--yes", "--again", "--json", env=provider | elsewhere)
    assert (refused.code, refused.json["holds"][0]["code"]) == (3, "payment-refused")


def test_a_wallet_pays_each_request_and_is_shown_before(cli: Cli, provider: dict[str, str]) -> None:
    result = cli("submit", cli.manifest("paid", [MUG, CUP], payment="x402-base"), "--yes", env=provider)
    assert result.code == 0, result.stderr
    assert f"{EVM_ADDRESS} pays (x402-base)" in result.stderr
    exported = list(csv.DictReader(StringIO(cli("export", "paid", env=provider).stdout)))
    assert [row["unit"] for row in exported] == ["usdc", "usdc"]
    again = cli("submit", cli.manifest("more", [MUG, CUP], payment="x402-base"), "--yes", env=provider)
    assert " to 0x" in again.stderr, "whom it pays is pinned by now"


def test_one_is_asked_with_the_amount_of_the_terms(cli: Cli, provider: dict[str, str]) -> None:
    refused = cli("submit", cli.manifest("asked", [MUG, CUP], payment="x402-base"), env=provider)
    (stated,) = re.findall(r"at most (\S+) USDC", refused.stderr)
    assert (refused.code, f"this spends up to {stated} USDC" in refused.stderr) == (3, True)


def test_the_account_that_a_recipient_lacks_is_in_the_amount(cli: Cli, provider: dict[str, str]) -> None:
    """Nobody has paid the sandbox on Solana yet."""
    env = provider | {"SVM_PRIVATE_KEY": str(Keypair.from_seed(bytes(range(32))))}
    refused = cli("submit", cli.manifest("rent", [MUG, CUP], payment="x402-solana"), env=env)
    (stated,) = re.findall(r"at most (\S+) USDC", refused.stderr)
    assert (refused.code, Decimal(stated)) == (3, USDC_PRICE * Decimal("1.1") + 2 * Decimal("0.01") + Decimal("0.5"))


def test_caps_are_held_against_usdc(cli: Cli, provider: dict[str, str]) -> None:
    file = cli.manifest("capped", [MUG, CUP], payment="x402-base")
    refused = cli("submit", file, "--yes", "--max-credits", "28", env=provider)
    assert (refused.code, "--max-credits 28 credits (0.1456 USDC)" in refused.stderr) == (3, True)


def test_a_balance_that_is_too_low_names_the_top_up(cli: Cli, provider: dict[str, str]) -> None:
    refused = cli("submit", cli.manifest("poor", [MUG, CUP], payment="wallet-base"), "--yes", env=provider)
    assert refused.code == 3
    assert "orchestrator wallet top-up 0.1456 --network base" in refused.stderr


def test_a_missing_or_wrong_key_is_named_and_never_shown(cli: Cli, provider: dict[str, str]) -> None:
    file = cli.manifest("keyless", [MUG], payment="x402-solana")
    missing = cli("submit", file, "--yes", env=provider)
    assert (missing.code, "SVM_PRIVATE_KEY" in missing.stderr) == (4, True)
    wrong = cli("submit", file, "--yes", env=provider | {"SVM_PRIVATE_KEY": EVM_KEY})
    assert (wrong.code, "SVM_PRIVATE_KEY cannot be used" in wrong.stderr) == (4, True)
    assert "11" * 32 not in wrong.stderr


def test_a_key_signs_nothing_for_a_stand_in_whose_chain_is_the_real_one(cli: Cli, provider: dict[str, str]) -> None:
    real = {name: value for name, value in provider.items() if name != "BASE_RPC_URL"}
    for payment in ("x402-base", "wallet-base"):
        refused = cli("submit", cli.manifest("real", [MUG], payment=payment), "--yes", env=real)
        assert refused.code == 4
        assert f"set BASE_RPC_URL={provider['BASE_RPC_URL']}" in refused.stderr
    mixed = real | {"BASE_RPC_URL": f"{provider['BASE_RPC_URL']},https://mainnet.base.org"}
    assert cli("worker", env=mixed).code == 4


def test_solana_out_of_reach_is_found_before_anything_is_stored(cli: Cli, provider: dict[str, str]) -> None:
    from solders.keypair import Keypair

    env = provider | {"SVM_PRIVATE_KEY": str(Keypair()), "SOLANA_RPC_URL": "http://127.0.0.1:9/"}
    refused = cli("submit", cli.manifest("far", [MUG], payment="x402-solana"), "--yes", env=env)
    assert (refused.code, "Solana cannot be asked" in refused.stderr) == (4, True)
    assert cli("status", "far", env=env).code == 2


def test_a_worker_without_any_key_says_which_there_are(cli: Cli) -> None:
    refused = cli("worker")
    assert refused.code == 4
    assert all(name in refused.stderr for name in ("KATANA_API_KEY", "EVM_PRIVATE_KEY", "SVM_PRIVATE_KEY"))


def test_another_wallet_does_not_go_on_with_a_batch(cli: Cli, provider: dict[str, str]) -> None:
    cli("submit", cli.manifest("mine", [MUG, CUP], payment="x402-base", canary=1), "--yes", env=provider)
    other = cli("resume", "mine", "--yes", env=provider | {"EVM_PRIVATE_KEY": "0x" + "22" * 32})
    assert (other.code, "set EVM_PRIVATE_KEY to the key of the wallet" in other.stderr) == (4, True)


def test_one_worker_and_one_resume_serve_every_payment_that_has_a_key(cli: Cli, provider: dict[str, str]) -> None:
    both = provider | CREDENTIALS
    for name, payment in (("by-credits", "credits"), ("by-wallet", "x402-base")):
        file = cli.manifest(name, [MUG, CUP], payment=payment)
        assert cli("submit", file, "--yes", "--detach", env=both).code == 0
    worker = cli.start("worker", env=both)
    for name in ("by-credits", "by-wallet"):
        assert cli("wait", name, "--timeout", "40s", env=both).code == 0
    worker.send_signal(signal.SIGINT)
    assert finish(worker).code == 0
    for name, payment in (("more-credits", "credits"), ("more-wallet", "x402-base")):
        file = cli.manifest(name, [MUG, CUP], payment=payment)
        assert cli("submit", file, "--yes", "--detach", env=both).code == 0
    resumed = cli("resume", "--yes", "--json", env=both)
    ended = {document["name"]: document["state"] for document in resumed.json}
    assert (ended["more-credits"], ended["more-wallet"]) == ("completed", "completed")


def test_a_saved_plan_keeps_its_payment(cli: Cli) -> None:
    file = cli.manifest("kept", [MUG], payment="x402-base", budget={"usd": "1"})
    assert cli("plan", file, "-o", "kept.plan").code == 0
    again = cli("plan", "kept.plan", "--json").json
    assert (again["payment"], again["usdc"]["total"]) == ("x402-base", "0.0828")
    assert cli("submit", "kept.plan", "--sandbox", "--json").json["usdc"]["budget"] == "1"
