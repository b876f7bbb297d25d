"""Private keys as wallets export them, read strictly: what is something else is named, and never shown."""

import json
import re

_HEX_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_HEX_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BASE58 = re.compile(r"[1-9A-HJ-NP-Za-km-z]+")
_PHRASE_WORDS = range(12, 25)
_SEED_BYTES = 32
_KEYPAIR_BYTES = 64
_LONGEST_LIST = 1000


class BadKey(Exception):
    """What should be a private key is none; `looks_like` says what it seems to be, and holds nothing of it."""

    def __init__(self, looks_like: str) -> None:
        super().__init__(looks_like)
        self.looks_like = looks_like


def evm_key(text: str) -> bytes:
    """The 32 bytes of a private key of Base: hex, with or without 0x. Raises BadKey."""
    text = text.strip()
    if not _HEX_KEY.fullmatch(text):
        raise BadKey(_looks_like(text))
    return bytes.fromhex(text.removeprefix("0x"))


def svm_key(text: str) -> bytes:
    """The 64 bytes of a keypair of Solana: base58 as wallets export it, or solana-keygen's list. Raises BadKey."""
    text = text.strip()
    found = _numbers(text) if text.startswith("[") else _base58_keypair(text)
    if found is None or len(found) != _KEYPAIR_BYTES:
        raise BadKey(_looks_like(text))
    return found


def _looks_like(text: str) -> str:
    """In words for people, what a text is that is not the key asked for."""
    if not text:
        return "it is empty"
    if len(text.split()) in _PHRASE_WORDS:
        return "it looks like a seed phrase"
    if _HEX_ADDRESS.fullmatch(text):
        return "it looks like an address on Base, not a key"
    if _HEX_KEY.fullmatch(text):
        return "it looks like a private key of Base (EVM)"
    if text.startswith("["):
        return _looks_like_numbers(text)
    if _base58_keypair(text) is not None:
        return "it looks like a private key of Solana (SVM)"
    if _is_base58_of_32_bytes(text):
        return "it looks like an address on Solana, or a seed of 32 bytes without its public key, not a key of 64 bytes"
    return "it looks like something else"


def _looks_like_numbers(text: str) -> str:
    numbers = _numbers(text)
    if numbers is None:
        return "it looks like a list, but not one of byte values"
    if len(numbers) == _KEYPAIR_BYTES:
        return "it looks like a private key of Solana (SVM)"
    if len(numbers) == _SEED_BYTES:
        return "it looks like a seed of 32 bytes without its public key, not a key of 64 bytes"
    return "it looks like a list of bytes, but not of 64"


def _numbers(text: str) -> bytes | None:
    try:
        return bytes(json.loads(text)) if len(text) <= _LONGEST_LIST else None
    except (ValueError, TypeError, RecursionError):
        return None


def _base58_keypair(text: str) -> bytes | None:
    from solders.signature import Signature  # reads any 64 bytes in base58

    try:
        return bytes(Signature.from_string(text)) if _BASE58.fullmatch(text) else None
    except ValueError:
        return None


def _is_base58_of_32_bytes(text: str) -> bool:
    from solders.pubkey import Pubkey

    try:
        return _BASE58.fullmatch(text) is not None and len(bytes(Pubkey.from_string(text))) == _SEED_BYTES
    except ValueError:
        return False
