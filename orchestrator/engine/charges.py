"""What each item of a request cost, as far as the provider says it. Pure.

An item's own `credits_spent` counts. A request that gives only its total speaks for an item that is alone in it;
among several, the total is shared out when it is final, so that what we count is what was charged.
"""

from collections.abc import Sequence
from decimal import Decimal

from orchestrator.base.money import ZERO
from orchestrator.katana.wire import Answer, Item

#: (position, estimate) of an item on which nothing final was read yet.
OpenItem = tuple[int, Decimal]


def item_charges(answer: Answer, open_items: Sequence[OpenItem], *, final: bool) -> dict[int, Decimal | None]:
    """The charge of each open item, None where it is not said. An item that is left out has to wait for the total."""
    own = {position: _own_charge(answer, position) for position, _ in open_items}
    unsaid = [(position, estimate) for position, estimate in open_items if own[position] is None]
    total = answer.metadata.credits_spent
    alone = len(answer.responses) <= 1 and len(open_items) == 1
    if not unsaid or (total is None and (final or alone)):
        return dict(own)
    if alone:
        return {open_items[0][0]: total}
    if not final or total is None:
        return {position: charge for position, charge in own.items() if charge is not None}
    figures = [item.metadata.credits_spent for item in answer.responses]
    if figures.count(None) != len(unsaid):
        return dict(own)  # a part of the total belongs to items that were settled before
    said = sum((figure for figure in figures if figure is not None), ZERO)
    return own | _shared_out(answer, max(total - said, ZERO), unsaid)


def _own_charge(answer: Answer, position: int) -> Decimal | None:
    item = _item_at(answer, position)
    return item.metadata.credits_spent if item is not None else None


def _item_at(answer: Answer, position: int) -> Item | None:
    return answer.responses[position] if position < len(answer.responses) else None


def _shared_out(answer: Answer, rest: Decimal, unsaid: Sequence[OpenItem]) -> dict[int, Decimal]:
    """Shares that add up to `rest`: at most the estimates, items with files first; the first takes what is over."""
    shares: dict[int, Decimal] = {}
    in_order = sorted(unsaid, key=lambda open_item: not _has_files(_item_at(answer, open_item[0])))
    for position, estimate in in_order:
        shares[position] = min(estimate, rest)
        rest -= shares[position]
    shares[in_order[0][0]] += rest
    return shares


def _has_files(item: Item | None) -> bool:
    return item is not None and any(asset.source for asset in item.output_assets)
