"""The names of the provider's fields, as far as this room has to know them: the planner says what they mean."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProviderFields:
    """`names` are the fields of an item, those of nested ones with dots; `lists` are those that take a list.

    `pictures` are those whose texts each name a picture.
    """

    names: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    pictures: frozenset[str] = frozenset()
