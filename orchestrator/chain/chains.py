"""Both chains behind one door: endpoints are opened when they are first needed."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from orchestrator.base.payments import Blockhash, Network, from_atomic
from orchestrator.chain.base import BaseChain
from orchestrator.chain.rpc import Rpc, RpcUnavailable
from orchestrator.chain.word import ChainState, ChainWord, Outstanding, agreed

if TYPE_CHECKING:
    from orchestrator.chain.solana import SolanaChain

T = TypeVar("T")
C = TypeVar("C")
#: A whole look at a chain is over after this long.
_LOOK_DEADLINE_SECONDS = 90.0


class Chains:
    """Base and Solana, each at one URL or several (separated by commas), which then have to agree.

    `transport` carries everything in place of the network; it is left open at the end.
    """

    def __init__(self, base_urls: str, solana_urls: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._urls = {Network.BASE: urls_of(base_urls), Network.SOLANA: urls_of(solana_urls)}
        self._transport = transport
        self._rpcs: list[Rpc] = []
        self._with_accounts: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what was opened."""
        for rpc in self._rpcs if self._transport is None else ():
            await rpc.aclose()

    def looks_needed(self, network: Network) -> int:
        """How many looks, at least a minute apart, have to say CANNOT_SETTLE: one endpoint alone may be mistaken.

        Two keys of one host are one endpoint.
        """
        return 1 if len({urlsplit(url).netloc.rpartition("@")[2] for url in self._urls[network]}) > 1 else 2

    async def blockhash(self) -> Blockhash:
        """A finalized blockhash of Solana, for as long as any endpoint takes it to hold. Raises RpcUnavailable."""
        found = await _answers(self._solana, lambda chain: chain.blockhash())
        last_valid_height = max(answer.last_valid_height for answer in found)
        return Blockhash(found[0].value, last_valid_height, min(answer.slot for answer in found))

    async def has_token_account(self, owner: str) -> bool:
        """Whether an owner on Solana has an account for USDC, as far as any endpoint knows. Raises RpcUnavailable."""
        if owner not in self._with_accounts and any(
            await _answers(self._solana, lambda chain: chain.has_token_account(owner))
        ):
            self._with_accounts.add(owner)
        return owner in self._with_accounts

    async def usdc_of(self, network: Network, owner: str) -> Decimal:
        """The USDC that an owner has, the least that any endpoint tells. Raises RpcUnavailable."""
        if network is Network.BASE:
            return from_atomic(min(await _answers(self._base, lambda chain: chain.usdc_of(owner))))
        return from_atomic(min(await _answers(self._solana, lambda chain: chain.usdc_of(owner))))

    async def final_heights(self, network: Network) -> list[int | str]:
        """How far each endpoint of a network is: its last final block, or what is wrong with it. Raises nothing."""
        if network is Network.BASE:
            looks = [_tried(chain.final_height()) for chain in self._base]
        else:
            looks = [_tried(chain.final_height()) for chain in self._solana]
        return [problem if height is None else height for height, problem in await asyncio.gather(*looks)]

    async def word(self, payment: Outstanding) -> ChainWord:
        """What has become of a payment. Raises nothing: a look that does not work is OPEN, with its reason."""
        if payment.network is Network.BASE:
            looks = [_look(self._base_word(chain, payment)) for chain in self._base]
        else:
            looks = [_look(self._solana_word(chain, payment)) for chain in self._solana]
        return agreed(payment.network, await asyncio.gather(*looks))

    async def _base_word(self, chain: BaseChain, payment: Outstanding) -> ChainWord:
        if payment.valid_before is None:
            raise ValueError("a payment on Base is valid up to an instant")
        return await chain.word(payment.payer, payment.nonce, payment.valid_before, payment.since)

    async def _solana_word(self, chain: "SolanaChain", payment: Outstanding) -> ChainWord:
        if payment.last_valid_height is None:
            raise ValueError("a payment on Solana is valid up to a height")
        return await chain.word(payment.payer, payment.nonce, payment.last_valid_height, payment.after_slot or 0)

    @cached_property
    def _base(self) -> list[BaseChain]:
        return [BaseChain(self._opened(url)) for url in self._urls[Network.BASE]]

    @cached_property
    def _solana(self) -> "list[SolanaChain]":
        from orchestrator.chain.solana import SolanaChain  # imported when needed: solders is large

        return [SolanaChain(self._opened(url)) for url in self._urls[Network.SOLANA]]

    def _opened(self, url: str) -> Rpc:
        rpc = Rpc(url, transport=self._transport)
        self._rpcs.append(rpc)
        return rpc


def urls_of(setting: str) -> list[str]:
    """The URLs in a setting, each once."""
    return list(dict.fromkeys(url.strip() for url in setting.split(",") if url.strip()))


async def _look(word: Awaitable[ChainWord]) -> ChainWord:
    try:
        async with asyncio.timeout(_LOOK_DEADLINE_SECONDS):
            return await word
    except RpcUnavailable as error:
        return ChainWord(ChainState.OPEN, {"problem": error.reason})
    except TimeoutError:
        return ChainWord(ChainState.OPEN, {"problem": f"not over within {_LOOK_DEADLINE_SECONDS:g} seconds"})


async def _answers(chains: list[C], ask: Callable[[C], Awaitable[T]]) -> list[T]:
    """What those endpoints say that answer. Raises RpcUnavailable where none does."""
    results = await asyncio.gather(*(_tried(ask(chain)) for chain in chains))
    answers = [result for result, _ in results if result is not None]
    if not answers:
        raise RpcUnavailable("; ".join(problem for _, problem in results) or "no endpoint is configured")
    return answers


async def _tried(answer: Awaitable[T]) -> tuple[T | None, str]:
    try:
        return await answer, ""
    except RpcUnavailable as error:
        return None, error.reason
