"""What eth-account gives us, without what importing it does to the process. It takes most of a second: do it late."""

import sys

_RECURSION_LIMIT = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402 - between reading the limit and setting it
from eth_account.messages import encode_defunct, encode_typed_data  # noqa: E402 - as above
from eth_utils.address import to_checksum_address  # noqa: E402 - as above

# py_ecc, which it imports, raises the limit to 100,000: from then on deeply nested JSON, from whoever answers us, would
# end the process instead of raising RecursionError.
sys.setrecursionlimit(_RECURSION_LIMIT)

__all__ = ["Account", "encode_defunct", "encode_typed_data", "to_checksum_address"]
