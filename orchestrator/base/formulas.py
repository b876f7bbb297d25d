"""Cells that no spreadsheet computes, whoever wrote what is in them."""

_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def plain_cell(text: str) -> str:
    """Text that looks like a formula, kept from being one."""
    return f"'{text}" if text.startswith(_STARTS) else text
