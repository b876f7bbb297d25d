"""Base: whether an authorization (EIP-3009) has been used, as of a block that is final."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestrator.base.clock import rfc3339
from orchestrator.base.payments import BASE_CHAIN_ID, CHAINS, Network
from orchestrator.chain.rpc import Rpc, RpcUnavailable
from orchestrator.chain.word import ChainState, ChainWord

_USDC = CHAINS[Network.BASE].usdc
#: The selector of balanceOf(address).
_BALANCE_OF = "0x70a08231"
#: The selector of authorizationState(address,bytes32).
_AUTHORIZATION_STATE = "0xe94a0102"
#: The topic of AuthorizationUsed(address,bytes32).
_AUTHORIZATION_USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
_BLOCK_SECONDS = 2
#: How far from where the clock says logs are looked for: this machine's clock and the chain's may differ.
_LOG_MARGIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class _Block:
    number: int
    hash: str
    timestamp: int


class BaseChain:
    """Base, as one endpoint tells of it."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def word(self, payer: str, nonce: str, valid_before: datetime, since: datetime) -> ChainWord:
        """Whether the authorization has moved money, or never will. Raises RpcUnavailable."""
        await self._check_chain()
        block = await self._final_block()
        is_used = await self._is_used(payer, nonce, block)
        evidence: dict[str, Any] = {
            "rpc": self._rpc.host,
            "chain_id": BASE_CHAIN_ID,
            "block": block.number,
            "block_hash": block.hash,
            "block_timestamp": block.timestamp,
            "valid_before": rfc3339(valid_before),
            "authorization_used": is_used,
        }
        if is_used:
            transaction = await self._transaction(payer, nonce, block, valid_before, since)
            return ChainWord(ChainState.SETTLED, evidence | {"transaction": transaction}, transaction)
        # The contract takes an authorization in blocks from before `valid_before` alone.
        is_over = block.timestamp > valid_before.timestamp()
        return ChainWord(ChainState.CANNOT_SETTLE if is_over else ChainState.OPEN, evidence)

    async def final_height(self) -> int:
        """The number of the last final block. Raises RpcUnavailable, also for an endpoint of another chain."""
        await self._check_chain()
        return (await self._final_block()).number

    async def usdc_of(self, owner: str) -> int:
        """The USDC that an address has, in atomic units. Raises RpcUnavailable."""
        await self._check_chain()
        call = {"to": _USDC, "data": _BALANCE_OF + _word(owner)}
        return _quantity(await self._rpc.call("eth_call", call, "latest"), self._rpc.host)

    async def _check_chain(self) -> None:
        chain_id = _quantity(await self._rpc.call("eth_chainId"), self._rpc.host)
        if chain_id != BASE_CHAIN_ID:
            raise RpcUnavailable(f"{self._rpc.host} is an endpoint of chain {chain_id}, not of Base ({BASE_CHAIN_ID})")

    async def _final_block(self) -> _Block:
        block = await self._rpc.call("eth_getBlockByNumber", "finalized", False)
        if not isinstance(block, dict) or not isinstance(block.get("hash"), str):
            raise RpcUnavailable(f"{self._rpc.host} knows no finalized block")
        host = self._rpc.host
        return _Block(_quantity(block.get("number"), host), block["hash"], _quantity(block.get("timestamp"), host))

    async def _is_used(self, payer: str, nonce: str, block: _Block) -> bool:
        """As of that very block: an endpoint that does not have it yet must not answer from an older one."""
        call = {"to": _USDC, "data": _AUTHORIZATION_STATE + _word(payer) + _word(nonce)}
        result = await self._rpc.call("eth_call", call, hex(block.number))
        if not isinstance(result, str) or len(result) != len("0x") + 64 or _quantity(result, self._rpc.host) > 1:
            raise RpcUnavailable(f"{self._rpc.host} answered authorizationState with something else")
        return _quantity(result, self._rpc.host) == 1

    async def _transaction(
        self, payer: str, nonce: str, block: _Block, valid_before: datetime, since: datetime
    ) -> str | None:
        """The transaction that used the authorization, where the endpoint still knows; none is no reason to doubt."""
        first = _block_near(block, since - _LOG_MARGIN)
        query = {
            "address": _USDC,
            "topics": [_AUTHORIZATION_USED, "0x" + _word(payer), "0x" + _word(nonce)],
            "fromBlock": hex(max(first, 0)),
            "toBlock": hex(max(first, min(block.number, _block_near(block, valid_before + _LOG_MARGIN)))),
        }
        try:
            logs = await self._rpc.call("eth_getLogs", query)
        except RpcUnavailable:
            return None
        found = (
            logs[0].get("transactionHash") if isinstance(logs, list) and logs and isinstance(logs[0], dict) else None
        )
        return found if isinstance(found, str) else None


def _block_near(block: _Block, at: datetime) -> int:
    """The number of a block of about that instant."""
    return block.number - int((block.timestamp - at.timestamp()) / _BLOCK_SECONDS)


def _word(value: str) -> str:
    """An address or bytes in hex as a word of 32 bytes, without 0x."""
    return value.removeprefix("0x").lower().rjust(64, "0")


def _quantity(value: object, host: str) -> int:
    """A number as JSON-RPC writes it, 0x and hex. Raises RpcUnavailable."""
    try:
        if isinstance(value, str) and value.startswith("0x"):
            return int(value, 16)
    except ValueError:
        pass
    raise RpcUnavailable(f"{host} answered with something that is no number")
