"""What each item of a request cost, in the unit of the account that pays.

Credits are what the provider says. A direct payment has paid its price before the work began, whatever becomes of it. A
wallet's balance is charged what the provider says in USDC, else what it says in credits at the rate of the estimate;
what it does not say is counted at its reserve by the caller.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from uuid import UUID

from orchestrator.base.payments import ATOMIC, Payment
from orchestrator.engine.charges import OpenItem, item_charges
from orchestrator.katana.wire import Answer, Metadata
from orchestrator.store import terms
from orchestrator.store.database import Connection


@dataclass(frozen=True, slots=True)
class Tariff:
    """How a submission is paid, and what a credit of it costs a wallet; None where that is not known."""

    payment: Payment = Payment.CREDITS
    usdc_per_credit: Decimal | None = None

    def charges(self, answer: Answer, open_items: Sequence[OpenItem], *, final: bool) -> dict[int, Decimal | None]:
        """The charge of each open item, None where it is not said; one that is left out waits for the total."""
        if self.payment.is_direct:
            return dict(open_items)
        told = _in_usdc(answer, self.usdc_per_credit) if self.payment.is_wallet else answer
        return item_charges(told, open_items, final=final)


IN_CREDITS = Tariff()


def tariffs_of(connection: Connection, submission_ids: Collection[UUID]) -> dict[UUID, Tariff]:
    """How each of some submissions is charged."""
    return {
        submission_id: Tariff(payment, terms.usdc_per_credit(connection, submission_id) if payment.is_wallet else None)
        for submission_id, payment in terms.payments_of(connection, submission_ids).items()
    }


def _in_usdc(answer: Answer, rate: Decimal | None) -> Answer:
    """The answer with USDC where its charges are."""
    everyone = [answer.metadata, *(item.metadata for item in answer.responses)]
    is_told = any(metadata.usdc_spent is not None for metadata in everyone)

    def converted(metadata: Metadata) -> dict[str, Metadata]:
        usdc = metadata.usdc_spent if is_told else _scaled(metadata.credits_spent, rate)
        return {"metadata": metadata.model_copy(update={"credits_spent": usdc})}

    responses = [item.model_copy(update=converted(item.metadata)) for item in answer.responses]
    return answer.model_copy(update={"responses": responses, **converted(answer.metadata)})


def _scaled(credit_amount: Decimal | None, rate: Decimal | None) -> Decimal | None:
    if credit_amount is None or rate is None:
        return None
    return (credit_amount * rate).quantize(ATOMIC, ROUND_UP)
