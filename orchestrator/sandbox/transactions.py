"""The movements of a wallet's balance, as `GET /v1/x402/transactions/{walletAddress}` tells them."""

from itertools import groupby

from orchestrator.sandbox.answers import rfc3339
from orchestrator.sandbox.book import Book, Entry
from orchestrator.sandbox.customers import wallet

Document = dict[str, object]


def transactions(book: Book, account: str, now: float) -> list[Document]:
    """The movements up to `now`, newest first; their ids are the same at every read."""
    found = [*_top_ups(book, account, now), *_movements(book.entries(now), account)]
    return [document for _, document in sorted(found, key=lambda pair: pair[0])][::-1]


def _top_ups(book: Book, account: str, now: float) -> list[tuple[float, Document]]:
    return [
        (paid.payment.at, _document("top_up", paid.payment.at, f"{paid.credited:.6f}", paid.payment.transaction))
        for paid in book.settlements.all()
        if paid.credited is not None
        and paid.payment.at <= now
        and wallet(paid.payment.network, paid.payment.payer).account == account
    ]


def _movements(entries: list[Entry], account: str) -> list[tuple[float, Document]]:
    """A debit for each request, and a refund for each of its items that failed."""
    own = [entry for entry in entries if entry.account == account]
    refunds = [entry for entry in own if entry.kind == "refund"]
    found = [
        (entry.at, _document("refund", entry.at, f"{entry.usdc:.6f}", request_id=entry.request_id, of=entry.job_id))
        for entry in refunds
    ]
    charges = sorted((entry for entry in own if entry.kind == "charge"), key=lambda entry: entry.request_id)
    for request_id, grouped in groupby(charges, key=lambda entry: entry.request_id):
        together = list(grouped)
        amount = sum(entry.usdc for entry in together)
        at = together[0].at
        found.append((at, _document("debit", at, f"{amount:.6f}", request_id=request_id)))
    return found


def _document(
    kind: str, at: float, amount: str, transaction: str | None = None, *, request_id: str | None = None, of: str = ""
) -> Document:
    return {
        "id": "-".join(filter(None, (kind, transaction or of or request_id))),
        "type": kind,
        "amount_usdc": amount,
        "request_id": request_id,
        "created_at": rfc3339(at),
        "transaction": transaction,
    }
