"""`wallet`: the balance that a wallet has at the provider."""

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from orchestrator.base.clock import rfc3339
from orchestrator.base.errors import SpendRefused
from orchestrator.base.money import canonical
from orchestrator.base.payments import Network
from orchestrator.cli.asking import may_spend
from orchestrator.cli.console import print_json, safe, show, tell
from orchestrator.cli.params import AsJson, Yes, usdc_amount

if TYPE_CHECKING:
    from orchestrator.engine.top_up import TopUpQuote
    from orchestrator.operations.topping_up import ToppedUp

#: Exit code where it is not known yet whether something was paid.
_OPEN = 5

wallet = typer.Typer(help="The USDC that a wallet has put at the provider.")

OfNetwork = Annotated[
    Network | None,
    typer.Option(
        "--network", help="The chain of the wallet; Base unless only SVM_PRIVATE_KEY is set.", show_default=False
    ),
]


@wallet.callback()
def _wallet() -> None:
    """The USDC that a wallet has put at the provider, for `payment: wallet-*`."""


@wallet.command("top-up")
def top_up(
    amount: Annotated[Decimal, typer.Argument(parser=usdc_amount, metavar="AMOUNT", help="USDC to be credited.")],
    network: OfNetwork = None,
    yes: Yes = False,
    another: Annotated[
        bool, typer.Option("--another", help="Pay one more, even where an earlier one was paid and not reported.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Pay USDC from the wallet into its balance at the provider.

    A command that is repeated because its end was not seen pays nothing more: it goes on with the earlier top-up, and
    reports it. The account's caps count what work costs, not top-ups; one that is larger than a cap is refused.
    """
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import wallet as operations

    settings = load_settings()
    chosen = network or operations.default_network(settings)

    def agree(quoted: "TopUpQuote", address: str) -> bool:
        return may_spend(_question(quoted, address, chosen), yes=yes)

    def report(done: "ToppedUp") -> None:
        if as_json:
            print_json(done.document())
        else:
            show(*_lines(done))

    done = operations.top_up(settings, chosen, amount, is_another=another, agree=agree, tell=_tell, report=report)
    if done is None:
        raise SpendRefused("stopped at the question: nothing was signed")
    return _exit_code(done, amount)


@wallet.command()
def balance(network: OfNetwork = None, as_json: AsJson = False) -> None:
    """Show the USDC that the wallet has at the provider."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import wallet as operations

    settings = load_settings()
    document = operations.balance(settings, network or operations.default_network(settings), tell=_tell)
    if as_json:
        print_json(document)
    else:
        show(safe(f"{document['usdc']} USDC of {document['wallet']} on {document['network']}"))


@wallet.command()
def transactions(network: OfNetwork = None, as_json: AsJson = False) -> None:
    """Show what moved the wallet's balance at the provider."""
    from orchestrator.base.settings import load_settings
    from orchestrator.operations import wallet as operations

    settings = load_settings()
    document = operations.transactions(settings, network or operations.default_network(settings), tell=_tell)
    if as_json:
        print_json(document)
        return
    for entry in document["transactions"]:
        show(safe(_movement_text(entry)))
    if not document["transactions"]:
        show(Text("nothing has moved the balance yet"))


def _question(quoted: "TopUpQuote", address: str, network: Network) -> str:
    first = " (paid for the first time: compare it with the provider's)" if quoted.is_new_payee else ""
    return (
        f"{canonical(quoted.credited)} USDC are credited, {canonical(quoted.paid)} USDC are paid from {address} "
        f"to {quoted.pay_to}{first} on {network}"
    )


def _lines(done: "ToppedUp") -> list[Text]:
    document = done.document()
    paid = f"{document['paid_usdc']} USDC from {document['wallet']} on {document['network']}"
    transaction = f", transaction {document['transaction']}" if document["transaction"] else ""
    if document["state"] == "signed":
        return [
            safe(f"not settled yet: the top-up of {document['credited_usdc']} USDC ({paid}) is signed and stored"),
            safe(
                "the same payment is sent again while it is valid, then the chain tells whether it has settled; "
                "workers go on with it, and so does every `orchestrator wallet` command; none is signed before"
            ),
        ]
    if not document["confirmed"]:
        return [
            safe(f"paid {paid}{transaction}: the chain shows it, the provider did not say that it is credited"),
            safe(
                "compare: orchestrator wallet transactions; else ask the provider, with that transaction; no other one "
                "is paid unless you add --another"
            ),
        ]
    lines = [safe(f"credited {document['credited_usdc']} USDC, paid {paid}{transaction}")]
    if document["balance_usdc"] is not None:
        lines.append(safe(f"the balance is {document['balance_usdc']} USDC"))
    return lines


def _exit_code(done: "ToppedUp", amount: Decimal) -> int:
    if not done.is_credited:
        return _OPEN
    if done.is_earlier:
        signed_at = rfc3339(done.top_up.created_at)
        tell(safe(f"that is the top-up signed at {signed_at}: nothing new was signed; for another one run it again"))
    return SpendRefused.exit_code if done.is_earlier and done.top_up.credited != amount else 0


def _movement_text(entry: dict[str, Any]) -> str:
    about = entry["request_id"] or entry["transaction"] or ""
    words = (entry["at"] or "at an unknown time", entry["type"] or "unknown", f"{entry['usdc'] or '?'} USDC", about)
    return "  ".join(words).rstrip()


def _tell(line: str) -> None:
    tell(safe(line))
