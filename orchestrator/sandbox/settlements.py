"""What the virtual chains know of: the payments to the provider, and what became of each."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import FIRST_FUNDS
from orchestrator.sandbox.records import QuoteOffered, Settlement


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment, and what it paid for: a generation request, a completion of text, a top-up, or nothing at all."""

    payment: Settlement
    request_id: str | None = None
    charge_id: str | None = None
    credited: Decimal | None = None

    @property
    def purpose(self) -> str:
        """request, text, top-up or nothing."""
        if self.request_id is not None:
            return "request"
        if self.charge_id is not None:
            return "text"
        return "nothing" if self.credited is None else "top-up"


class Settlements:
    """All payments by their nonce, and the quotes that were told. Filled by the book, under its lock."""

    def __init__(self) -> None:
        self._paid: dict[tuple[Network, str, str], Paid] = {}
        self._offers: dict[tuple[str, str], list[QuoteOffered]] = defaultdict(list)
        self._spent: Counter[tuple[Network, str]] = Counter()
        self._token_account_since: float | None = None
        self.offers_made = 0

    def take(self, paid: Paid) -> None:
        payment = paid.payment
        self._paid[payment.network, payment.payer, payment.nonce] = paid
        self._spent[payment.network, payment.payer] += payment.amount
        if payment.creates_account and (self._token_account_since or payment.at) >= payment.at:
            self._token_account_since = payment.at

    def take_offer(self, offer: QuoteOffered) -> None:
        self._offers[offer.path, offer.body_sha256].append(offer)
        self.offers_made += 1

    def find(self, network: Network, payer: str, nonce: str) -> Paid | None:
        """The payment with that nonce of that payer, settled or about to be."""
        return self._paid.get((network, payer, nonce))

    def all(self) -> list[Paid]:
        """Every payment, in the order in which they were taken."""
        return list(self._paid.values())

    def settled(self, network: Network, until: float) -> list[Settlement]:
        """The payments on a chain at an instant, oldest first."""
        return sorted(
            (paid.payment for paid in self.all() if paid.payment.network is network and paid.payment.at <= until),
            key=lambda payment: payment.at,
        )

    def offered(self, path: str, body_sha256: str, network: Network, since: float) -> set[int]:
        """The amounts that were asked for that body since an instant, in atomic USDC."""
        offers = self._offers.get((path, body_sha256), ())
        return {offer.amounts[network] for offer in offers if offer.at >= since and network in offer.amounts}

    def funds(self, network: Network, payer: str) -> int:
        """What a wallet owns on its chain, in atomic USDC, less the payments that are still on their way."""
        return FIRST_FUNDS - self._spent[network, payer]

    def has_token_account(self, until: float) -> bool:
        """Whether the provider's token account exists on Solana: the first payment there has created it."""
        return self._token_account_since is not None and self._token_account_since <= until
