"""Base as an endpoint tells of it: blocks every two seconds, each final at once, and who has paid the provider."""

import re
from typing import Any

from orchestrator.base.payments import BASE_CHAIN_ID, CHAINS, Network
from orchestrator.sandbox.chains import FIRST_FUNDS, RECIPIENTS, View, block_at, block_digest, block_time
from orchestrator.sandbox.records import Settlement
from orchestrator.sandbox.rpc import RpcError, invalid_params, no_such_method

_USDC = CHAINS[Network.BASE].usdc.lower()
_PAY_TO = RECIPIENTS[Network.BASE].pay_to.lower()
#: Selectors: authorizationState(address,bytes32), balanceOf(address), decimals().
_AUTHORIZATION_STATE, _BALANCE_OF, _DECIMALS = "e94a0102", "70a08231", "313ce567"
#: Topics: AuthorizationUsed(address,bytes32).
_AUTHORIZATION_USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
_NEWEST = frozenset({"latest", "finalized", "safe", "pending"})
_QUANTITY = re.compile(r"0x[0-9a-f]{1,16}")


def answer(view: View, method: str, params: list[Any]) -> object:
    """The result of a call. Raises RpcError."""
    newest = block_at(Network.BASE, view.now)
    match method:
        case "eth_chainId":
            return hex(BASE_CHAIN_ID)
        case "net_version":
            return str(BASE_CHAIN_ID)
        case "eth_blockNumber":
            return hex(newest)
        case "eth_getBlockByNumber":
            number = _block_number(_at(params, 0), newest)
            return None if number > newest else _block(number)
        case "eth_call":
            number = _block_number(_at(params, 1, "latest"), newest)
            if number > newest:
                raise RpcError(-32000, "header not found")
            return _call(view, _at(params, 0), number)
        case "eth_getLogs":
            return _logs(view, _at(params, 0), newest)
        case "eth_getTransactionReceipt":
            return next((_receipt(each) for each in view.payments if each.transaction == _at(params, 0)), None)
    raise no_such_method(method)


def _block(number: int) -> dict[str, object]:
    return {
        "number": hex(number),
        "hash": _hash(number),
        "parentHash": _hash(max(number - 1, 0)),
        "timestamp": hex(int(block_time(Network.BASE, number))),
        "transactions": [],
    }


def _call(view: View, call: object, number: int) -> str:
    """The contract of USDC; there is no other."""
    if not isinstance(call, dict) or not isinstance(call.get("to"), str):
        raise invalid_params("a call needs `to`")
    data = str(call.get("data") or call.get("input") or "").lower().removeprefix("0x")
    if call["to"].lower() != _USDC:
        return "0x"
    selector, words = data[:8], [data[start : start + 64] for start in range(8, len(data), 64)]
    if selector == _DECIMALS:
        return _word(6)
    if selector == _BALANCE_OF and len(words) == 1:
        return _word(_balance(view, "0x" + words[0][24:], number))
    if selector == _AUTHORIZATION_STATE and len(words) == 2:
        return _word(any(_is_use(each, words[0], words[1]) and _block_of(each) <= number for each in view.payments))
    raise RpcError(3, "execution reverted")


def _is_use(payment: Settlement, payer: str, nonce: str) -> bool:
    return payment.payer[2:].lower() == payer[24:] and payment.nonce == f"0x{nonce}"


def _balance(view: View, address: str, number: int) -> int:
    paid = [each for each in view.payments if _block_of(each) <= number]
    if address == _PAY_TO:
        return sum(each.amount for each in paid)
    return FIRST_FUNDS - sum(each.amount for each in paid if each.payer.lower() == address)


def _logs(view: View, query: object, newest: int) -> list[dict[str, object]]:
    """The AuthorizationUsed events that a filter finds."""
    if not isinstance(query, dict):
        raise invalid_params("a filter must be an object")
    first = _block_number(query.get("fromBlock", "latest"), newest)
    last = _block_number(query.get("toBlock", "latest"), newest)
    wanted = query.get("topics") or []
    if str(query.get("address", _USDC)).lower() != _USDC:
        return []
    logs = [_log(each) for each in view.payments if first <= _block_of(each) <= last]
    return [log for log in logs if _matches(wanted, log["topics"])]


def _matches(wanted: object, topics: object) -> bool:
    """Each place of a filter holds a topic, a list of them, or null for any."""
    if not isinstance(wanted, list) or not isinstance(topics, list) or len(wanted) > len(topics):
        return False
    places = zip(wanted, topics, strict=False)
    return all(place is None or topic in (place if isinstance(place, list) else [place]) for place, topic in places)


def _log(payment: Settlement) -> dict[str, object]:
    return {
        "address": _USDC,
        "topics": [_AUTHORIZATION_USED, "0x" + payment.payer[2:].lower().rjust(64, "0"), payment.nonce],
        "data": "0x",
        "blockNumber": hex(_block_of(payment)),
        "blockHash": _hash(_block_of(payment)),
        "transactionHash": payment.transaction,
        "transactionIndex": "0x0",
        "logIndex": "0x0",
        "removed": False,
    }


def _receipt(payment: Settlement) -> dict[str, object]:
    log = _log(payment)
    return {
        "transactionHash": payment.transaction,
        "status": "0x1",
        "blockNumber": log["blockNumber"],
        "blockHash": log["blockHash"],
        "to": _USDC,
        "logs": [log],
    }


def _block_of(payment: Settlement) -> int:
    return block_at(Network.BASE, payment.at)


def _block_number(tag: object, newest: int) -> int:
    if tag in _NEWEST:
        return newest
    if tag == "earliest":
        return 0
    if isinstance(tag, str) and _QUANTITY.fullmatch(tag):
        return int(tag, 16)
    raise invalid_params("a block is a number in hex or a tag")


def _hash(number: int) -> str:
    return "0x" + block_digest(Network.BASE, number).hex()


def _word(number: int) -> str:
    return f"0x{number:064x}"


def _at(params: list[Any], index: int, default: object = None) -> Any:
    return params[index] if len(params) > index else default
