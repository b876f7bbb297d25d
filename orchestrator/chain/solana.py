"""Solana: a blockhash to sign under, and whether a transaction with our signature has landed.

The id of a transaction is the signature of whoever pays its fee, which is not ours to know. What has landed is told by
our own signature among a transaction's.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from solders.pubkey import Pubkey

from orchestrator.base.payments import CHAINS, Blockhash, Network
from orchestrator.base.spl import TOKEN_PROGRAM, token_account
from orchestrator.chain.rpc import Rpc, RpcUnavailable
from orchestrator.chain.word import ChainState, ChainWord

_FINALIZED = {"commitment": "finalized"}
_PAGE = 1000
#: In how many blocks after its own a blockhash holds: never longer, whatever an endpoint says of its end.
_BLOCKHASH_BLOCKS = 150
#: A look gives up after that many transactions of one wallet: what it has not seen, it says nothing about.
_MOST_TRANSACTIONS = 5000


@dataclass(frozen=True, slots=True)
class _Landed:
    """A transaction that the chain has taken up; one that `failed` has moved nothing and cannot any more."""

    id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class _Tip:
    """The newest block that is final."""

    slot: int
    height: int


class SolanaChain:
    """Solana, as one endpoint tells of it."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self._is_checked = False
        #: Final, so not asked for twice: the signatures of each transaction looked into.
        self._signatures: dict[str, tuple[str, ...]] = {}

    async def blockhash(self) -> Blockhash:
        """A finalized blockhash. Raises RpcUnavailable."""
        await self._check_chain()
        answer = await self._object("getLatestBlockhash", _FINALIZED)
        value = answer.get("value")
        if not isinstance(value, dict) or not isinstance(value.get("blockhash"), str):
            raise RpcUnavailable(f"{self._rpc.host} named no blockhash")
        context = answer.get("context")
        slot = self._whole(context.get("slot") if isinstance(context, dict) else None)
        told, tip = self._whole(value.get("lastValidBlockHeight")), await self._tip()
        return Blockhash(value["blockhash"], max(told, tip.height + _BLOCKHASH_BLOCKS), slot)

    async def has_token_account(self, owner: str) -> bool:
        """Whether an account holds the USDC of `owner`; not where that is no address. Raises RpcUnavailable."""
        await self._check_chain()
        try:
            account = str(token_account(Pubkey.from_string(owner)))
        except ValueError:
            return False
        answer = await self._object("getAccountInfo", account, _FINALIZED | {"encoding": "base64"})
        if "value" not in answer:
            raise RpcUnavailable(f"{self._rpc.host} does not say whether an account exists")
        value = answer["value"]
        return isinstance(value, dict) and value.get("owner") == str(TOKEN_PROGRAM)

    async def usdc_of(self, owner: str) -> int:
        """The USDC in the token account of an owner, in atomic units; none without one. Raises RpcUnavailable."""
        if not await self.has_token_account(owner):
            return 0
        account = str(token_account(Pubkey.from_string(owner)))
        value = (await self._object("getTokenAccountBalance", account, _FINALIZED)).get("value")
        amount = value.get("amount") if isinstance(value, dict) else None
        if not isinstance(amount, str) or not amount.isdecimal():
            raise RpcUnavailable(f"{self._rpc.host} answered getTokenAccountBalance with something else")
        return int(amount)

    async def word(self, payer: str, owner_signature: str, last_valid_height: int, after_slot: int) -> ChainWord:
        """Whether the transaction with that signature has moved money, or never will. Raises RpcUnavailable.

        It cannot have landed before `after_slot`: by no clock, which may differ from the chain's.
        """
        await self._check_chain()
        tip = await self._tip()
        evidence: dict[str, Any] = {
            "rpc": self._rpc.host,
            "slot": tip.slot,
            "height": tip.height,
            "last_valid_height": last_valid_height,
            "after_slot": after_slot,
        }
        if tip.height <= last_valid_height:
            return ChainWord(ChainState.OPEN, evidence)
        account = str(token_account(Pubkey.from_string(payer)))
        landed, looked_at = None, 0
        async for entry in self._history(account, tip, after_slot):
            looked_at += 1
            if owner_signature in await self._signatures_of(entry.id):
                landed = entry
                break
        evidence |= {"token_account": account, "transactions_seen": looked_at}
        if landed is None:
            return ChainWord(ChainState.CANNOT_SETTLE, evidence)
        evidence |= {"transaction": landed.id, "failed": landed.failed}
        if landed.failed:
            return ChainWord(ChainState.CANNOT_SETTLE, evidence)
        return ChainWord(ChainState.SETTLED, evidence, landed.id)

    async def final_height(self) -> int:
        """The height of the last final block. Raises RpcUnavailable, also for an endpoint of another chain."""
        await self._check_chain()
        return (await self._tip()).height

    async def _check_chain(self) -> None:
        if self._is_checked:
            return
        genesis = await self._rpc.call("getGenesisHash")
        if not isinstance(genesis, str) or not genesis.startswith(CHAINS[Network.SOLANA].caip2.partition(":")[2]):
            raise RpcUnavailable(f"{self._rpc.host} is not an endpoint of Solana's mainnet")
        self._is_checked = True

    async def _tip(self) -> _Tip:
        """Slot and height in one answer: endpoints are many machines, and not all of them are as far."""
        answer = await self._object("getEpochInfo", _FINALIZED)
        return _Tip(self._whole(answer.get("absoluteSlot")), self._whole(answer.get("blockHeight")))

    async def _history(self, account: str, tip: _Tip, after_slot: int) -> AsyncIterator[_Landed]:
        """The final transactions of an account, newest first. Raises RpcUnavailable where it may be incomplete."""
        before: str | None = None
        for _ in range(_MOST_TRANSACTIONS // _PAGE):
            entries = await self._page(account, tip, before)
            for entry in entries:
                if self._whole(entry.get("slot")) < after_slot:
                    return
                yield _Landed(str(entry["signature"]), entry.get("err") is not None)
            if len(entries) < _PAGE:
                await self._check_reach(after_slot)
                return
            before = str(entries[-1]["signature"])
        raise RpcUnavailable(f"{self._rpc.host}: the wallet has more than {_MOST_TRANSACTIONS} transactions since then")

    async def _page(self, account: str, tip: _Tip, before: str | None) -> list[dict[str, Any]]:
        """`minContextSlot`: answered by a machine that is at least as far as the tip, or not at all."""
        options = _FINALIZED | {"limit": _PAGE, "minContextSlot": tip.slot} | ({"before": before} if before else {})
        entries = await self._rpc.call("getSignaturesForAddress", account, options)
        if not isinstance(entries, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("signature"), str) for entry in entries
        ):
            raise RpcUnavailable(f"{self._rpc.host} answered getSignaturesForAddress with something else")
        return entries

    async def _check_reach(self, after_slot: int) -> None:
        """A list that just ends is complete only where the endpoint's ledger reaches back far enough."""
        if self._whole(await self._rpc.call("getFirstAvailableBlock")) > after_slot:
            raise RpcUnavailable(f"{self._rpc.host} has forgotten what was that long ago")

    async def _signatures_of(self, transaction: str) -> tuple[str, ...]:
        known = self._signatures.get(transaction)
        if known is None:
            options = _FINALIZED | {"encoding": "json", "maxSupportedTransactionVersion": 0}
            answer = await self._object("getTransaction", transaction, options)
            inner = answer.get("transaction")
            signatures = inner.get("signatures") if isinstance(inner, dict) else None
            if not isinstance(signatures, list) or transaction not in signatures:
                raise RpcUnavailable(f"{self._rpc.host} answered getTransaction with something else")
            if len(self._signatures) >= _MOST_TRANSACTIONS:
                self._signatures.clear()
            known = self._signatures[transaction] = tuple(map(str, signatures))
        return known

    async def _object(self, method: str, *params: Any) -> dict[str, Any]:
        answer = await self._rpc.call(method, *params)
        if not isinstance(answer, dict):
            raise RpcUnavailable(f"{self._rpc.host} answered {method} with something else")
        return answer

    def _whole(self, value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise RpcUnavailable(f"{self._rpc.host} answered with something that is no number")
