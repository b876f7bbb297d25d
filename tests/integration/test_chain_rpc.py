"""From an offer to its chain's word: guard, wallet, client and chains together, against the sandbox and its chains."""

import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from orchestrator.base.payments import Network, Payment, from_atomic
from orchestrator.chain.chains import Chains
from orchestrator.chain.word import ChainState, Outstanding
from orchestrator.katana.client import KatanaClient
from orchestrator.katana.verdict import Kind
from orchestrator.payments import guard
from orchestrator.payments.payers import sandbox_payer
from orchestrator.payments.wallet import SignedPayment
from orchestrator.sandbox import FaultRule, Faults, Sandbox
from orchestrator.sandbox.chains import RECIPIENTS
from orchestrator.sandbox.faults import Place

BODY = json.dumps(
    {"requests": [{"type": "image", "model": "gpt-image-2", "prompt": "A ceramic mug", "aspect_ratio": "16:9"}]}
).encode()
#: What the request of BODY costs by the catalogue, in USDC.
PLANNED = Decimal("0.0728")
DIRECT = pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])
MakeSandbox = Callable[..., Sandbox]


class FakeTime:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def make_sandbox(tmp_path: Path, clock: FakeTime) -> Iterator[MakeSandbox]:
    """Sandboxes under one clock; the chains of each know of its own payments alone."""
    with ExitStack() as stack:

        def make(name: str = "sandbox", faults: Faults | None = None) -> Sandbox:
            return stack.enter_context(Sandbox(tmp_path / name, clock=clock, faults=faults or Faults()))

        yield make


@asynccontextmanager
async def chains_of(*sandboxes: Sandbox) -> AsyncIterator[Chains]:
    base, solana = (",".join(f"{each.base_url}/rpc/{name}" for each in sandboxes) for name in ("base", "solana"))
    async with Chains(base, solana) as chains:
        yield chains


async def sign(sandbox: Sandbox, chains: Chains, payment: Payment, clock: FakeTime) -> SignedPayment:
    """What the engine does before it sends: the offer, the guard, the chain, the signature."""
    network, wallet = payment.network, sandbox_payer("batch", payment).wallet
    assert network is not None
    assert wallet is not None
    async with KatanaClient(sandbox.base_url, {}) as client:
        offer = guard.choose((await client.discover(BODY)).offers, network)
    is_new = network is Network.SOLANA and not await chains.has_token_account(offer.pay_to)
    limit = guard.spend_limit(PLANNED, creates_account=is_new)
    guard.check(offer, network, limit=limit, pay_to=RECIPIENTS[network].pay_to)
    blockhash = await chains.blockhash() if network is Network.SOLANA else None
    return wallet.pay(
        offer.entry, now=datetime.fromtimestamp(clock.now, UTC), blockhash=blockhash, creates_account=is_new
    )


def broken(at: Place, kind: str) -> Faults:
    return Faults(rules=[FaultRule(at=at, kind=kind, times=None, seconds=1000, factor=Decimal(30))])


async def send(sandbox: Sandbox, signed: SignedPayment) -> Kind:
    async with KatanaClient(sandbox.base_url, {}) as client:
        return (await client.submit(BODY, payment=signed.header)).kind


def outstanding(signed: SignedPayment, clock: FakeTime) -> Outstanding:
    return Outstanding(
        signed.network,
        signed.payer,
        signed.nonce,
        since=datetime.fromtimestamp(clock.now, UTC),
        valid_before=signed.valid_before,
        last_valid_height=signed.last_valid_height,
        after_slot=signed.after_slot,
    )


@DIRECT
async def test_what_was_paid_is_settled(make_sandbox: MakeSandbox, clock: FakeTime, payment: Payment) -> None:
    sandbox = make_sandbox()
    async with chains_of(sandbox) as chains:
        signed = await sign(sandbox, chains, payment, clock)
        asked = outstanding(signed, clock)
        assert await send(sandbox, signed) is Kind.ACCEPTED
        clock.now += 600
        word = await chains.word(asked)
        assert word.state is ChainState.SETTLED
        assert word.transaction
        again = await sign(sandbox, chains, payment, clock)
    assert again.nonce != signed.nonce
    if payment is Payment.X402_SOLANA:
        # The first payment has made the recipient's token account; the second has not to pay for it.
        assert from_atomic(signed.amount - again.amount) == Decimal("0.2")


@DIRECT
async def test_what_was_never_sent_cannot_settle_once_its_time_is_over(
    make_sandbox: MakeSandbox, clock: FakeTime, payment: Payment
) -> None:
    sandbox = make_sandbox()
    async with chains_of(sandbox) as chains:
        signed = await sign(sandbox, chains, payment, clock)
        asked = outstanding(signed, clock)
        assert (await chains.word(asked)).state is ChainState.OPEN
        clock.now += 600
        assert (await chains.word(asked)).state is ChainState.CANNOT_SETTLE
        assert chains.looks_needed(signed.network) == 2
    assert await send(sandbox, signed) is not Kind.ACCEPTED


@DIRECT
async def test_endpoints_that_do_not_agree_prove_nothing(
    make_sandbox: MakeSandbox, clock: FakeTime, payment: Payment
) -> None:
    """The second one knows nothing of the payment: alone, it would have it paid for a second time."""
    sandbox, blind = make_sandbox(), make_sandbox("blind")
    async with chains_of(sandbox, blind) as chains, chains_of(blind) as one_eyed:
        signed = await sign(sandbox, chains, payment, clock)
        asked = outstanding(signed, clock)
        assert await send(sandbox, signed) is Kind.ACCEPTED
        clock.now += 600
        assert (await one_eyed.word(asked)).state is ChainState.CANNOT_SETTLE
        word = await chains.word(asked)
        assert chains.looks_needed(signed.network) == 1
    assert word.state is ChainState.OPEN
    assert word.evidence["disagreement"] == ["cannot-settle", "settled"]


@DIRECT
@pytest.mark.parametrize("kind", ["lagging", "html", "garbage", "drop", "429"])
async def test_an_endpoint_that_is_behind_or_broken_proves_nothing(
    make_sandbox: MakeSandbox, clock: FakeTime, payment: Payment, kind: str
) -> None:
    sandbox, other = make_sandbox(), make_sandbox("other", broken("rpc", kind))
    async with chains_of(sandbox) as chains, chains_of(other) as bad:
        signed = await sign(sandbox, chains, payment, clock)
        asked = outstanding(signed, clock)
        clock.now += 600
        assert (await chains.word(asked)).state is ChainState.CANNOT_SETTLE
        assert (await bad.word(asked)).state is ChainState.OPEN


@DIRECT
@pytest.mark.parametrize("kind", ["price", "pay-to", "asset", "network", "scheme"])
async def test_the_guard_lets_no_forged_offer_pass(
    make_sandbox: MakeSandbox, clock: FakeTime, payment: Payment, kind: str
) -> None:
    sandbox = make_sandbox(faults=broken("offer", kind))
    async with chains_of(sandbox) as chains:
        with pytest.raises(guard.PaymentRefused) as caught:
            await sign(sandbox, chains, payment, clock)
    assert caught.value.is_price == (kind == "price")
