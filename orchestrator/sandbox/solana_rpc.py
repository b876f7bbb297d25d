"""Solana as an endpoint tells of it: blocks every 0.4 seconds, each final at once, and who has paid the provider."""

import base64
from typing import Any

from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from orchestrator.base.payments import Network
from orchestrator.sandbox.chains import (
    BLOCKHASH_BLOCKS,
    FIRST_FUNDS,
    RECIPIENTS,
    View,
    block_at,
    block_digest,
    block_time,
)
from orchestrator.sandbox.records import Settlement
from orchestrator.sandbox.rpc import RpcError, invalid_params, no_such_method
from orchestrator.sandbox.solana_payment import token_account

_GENESIS = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
_TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"  # noqa: S105 - an address
_MINT = RECIPIENTS[Network.SOLANA].asset
_PROVIDER_ACCOUNT = str(token_account(Pubkey.from_string(RECIPIENTS[Network.SOLANA].pay_to)))
#: Slots without a block before the first one that is served: a slot is not a height.
_SKIPPED_SLOTS = 1000
_SLOTS_IN_EPOCH = 432_000
_MOST_SIGNATURES = 1000
_RENT_LAMPORTS = 2_039_280


def answer(view: View, method: str, params: list[Any]) -> object:
    """The result of a call. Raises RpcError."""
    height = block_at(Network.SOLANA, view.now)
    _check_context(params, height)
    match method:
        case "getGenesisHash":
            return _GENESIS
        case "getHealth":
            return "ok"
        case "getBlockHeight":
            return height
        case "getSlot":
            return _slot(height)
        case "getFirstAvailableBlock":
            return 0
        case "getEpochInfo":
            return _epoch(height)
        case "getBlockTime":
            return _time_of_slot(_first(params, int), height)
        case "getLatestBlockhash":
            blockhash = {"blockhash": _blockhash(height), "lastValidBlockHeight": height + BLOCKHASH_BLOCKS}
            return _in_context(blockhash, height)
        case "isBlockhashValid":
            recent = range(max(0, height - BLOCKHASH_BLOCKS), height + 1)
            return _in_context(_first(params, str) in map(_blockhash, recent), height)
    return _of_accounts(view, method, params, height)


def _of_accounts(view: View, method: str, params: list[Any], height: int) -> object:
    match method:
        case "getAccountInfo":
            exists = view.has_token_account or _first(params, str) != _PROVIDER_ACCOUNT
            return _in_context(_account_info(view, _first(params, str)) if exists else None, height)
        case "getTokenAccountBalance":
            if _first(params, str) == _PROVIDER_ACCOUNT and not view.has_token_account:
                raise invalid_params("could not find account")
            return _in_context(_token_amount(_balance(view, _first(params, str))), height)
        case "getSignaturesForAddress":
            return _signatures(view, _first(params, str), _options(params))
        case "getTransaction":
            found = (each for each in view.payments if each.transaction == _first(params, str))
            payment = next(found, None)
            return None if payment is None else _transaction(payment, _options(params))
    raise no_such_method(method)


def _signatures(view: View, address: str, options: dict[str, Any]) -> list[dict[str, object]]:
    """The transactions that touch an address, newest first, from after `before` up to `until`."""
    limit = options.get("limit", _MOST_SIGNATURES)
    if not isinstance(limit, int) or not 0 < limit <= _MOST_SIGNATURES:
        raise invalid_params("limit must be 1 to 1000")
    found = [each for each in reversed(view.payments) if address in _keys(each)]
    ids = [each.transaction for each in found]
    first = ids.index(options["before"]) + 1 if options.get("before") in ids else 0
    last = ids.index(options["until"]) if options.get("until") in ids else len(ids)
    return [
        {
            "signature": each.transaction,
            "slot": _slot_of(each),
            "blockTime": int(each.at),
            "err": None,
            "memo": None,
            "confirmationStatus": "finalized",
        }
        for each in found[first:last][:limit]
    ]


def _transaction(payment: Settlement, options: dict[str, Any]) -> dict[str, object]:
    """A transaction as JSON or in Base64; what is not named by its encoding is the same."""
    if options.get("maxSupportedTransactionVersion") != 0:
        raise RpcError(-32015, "Transaction version (0) is not supported by the requesting client")
    encoding = options.get("encoding", "json")
    if encoding not in ("json", "base64"):
        raise invalid_params("encoding must be json or base64")
    parsed = _parsed(payment)
    signatures = [str(signature) for signature in parsed.signatures]
    as_json = {
        "signatures": signatures,
        "message": {
            "accountKeys": _keys(payment),
            "recentBlockhash": str(parsed.message.recent_blockhash),
        },
    }
    return {
        "slot": _slot_of(payment),
        "blockTime": int(payment.at),
        "version": 0,
        "transaction": as_json if encoding == "json" else [payment.raw, "base64"],
        "meta": {"err": None, "fee": 10_000, "status": {"Ok": None}},
    }


def _account_info(view: View, address: str) -> dict[str, object]:
    """A token account, as of every wallet that we know nothing of: each has its first funds."""
    amount = _balance(view, address)
    data = bytes(Pubkey.from_string(_MINT)) + bytes(32) + amount.to_bytes(8, "little") + bytes(36) + b"\1" + bytes(56)
    return {
        "owner": _TOKEN_PROGRAM,
        "lamports": _RENT_LAMPORTS,
        "executable": False,
        "rentEpoch": 0,
        "space": len(data),
        "data": [base64.b64encode(data).decode(), "base64"],
    }


def _balance(view: View, address: str) -> int:
    if address == _PROVIDER_ACCOUNT:
        return sum(each.amount for each in view.payments)
    return FIRST_FUNDS - sum(
        each.amount for each in view.payments if address == str(token_account(Pubkey.from_string(each.payer)))
    )


def _token_amount(amount: int) -> dict[str, object]:
    return {"amount": str(amount), "decimals": 6, "uiAmountString": f"{amount / 10**6:.6f}"}


def _epoch(height: int) -> dict[str, object]:
    slot = _slot(height)
    return {
        "absoluteSlot": slot,
        "blockHeight": height,
        "epoch": slot // _SLOTS_IN_EPOCH,
        "slotIndex": slot % _SLOTS_IN_EPOCH,
        "slotsInEpoch": _SLOTS_IN_EPOCH,
        "transactionCount": None,
    }


def _check_context(params: list[Any], height: int) -> None:
    """An endpoint that is not as far as the caller says it has seen answers nothing."""
    wanted = _options(params).get("minContextSlot", 0)
    if isinstance(wanted, int) and wanted > _slot(height):
        raise RpcError(-32016, "Minimum context slot has not been reached")


def _options(params: list[Any]) -> dict[str, Any]:
    return next((each for each in params if isinstance(each, dict)), {})


def _first(params: list[Any], kind: type) -> Any:
    if not params or not isinstance(params[0], kind):
        raise invalid_params(f"the first must be of type {kind.__name__}")
    return params[0]


def _in_context(value: object, height: int) -> dict[str, object]:
    return {"context": {"slot": _slot(height), "apiVersion": "2.0.0"}, "value": value}


def _time_of_slot(slot: int, height: int) -> int:
    if not 0 <= slot <= _slot(height):
        raise RpcError(-32004, f"Block not available for slot {slot}")
    return int(block_time(Network.SOLANA, max(0, slot - _SKIPPED_SLOTS)))


def _slot(height: int) -> int:
    return height + _SKIPPED_SLOTS


def _slot_of(payment: Settlement) -> int:
    return _slot(block_at(Network.SOLANA, payment.at))


def _blockhash(height: int) -> str:
    return str(Hash.from_bytes(block_digest(Network.SOLANA, height)))


def _keys(payment: Settlement) -> list[str]:
    return [str(key) for key in _parsed(payment).message.account_keys]


def _parsed(payment: Settlement) -> VersionedTransaction:
    return VersionedTransaction.from_bytes(base64.b64decode(payment.raw or ""))
