"""What tests and demos read and set over HTTP: faults, ledger, requests, statistics. No real provider has these."""

from dataclasses import asdict

from aiohttp import web
from pydantic import BaseModel, ValidationError

from orchestrator.base.money import canonical
from orchestrator.sandbox.answers import rfc3339
from orchestrator.sandbox.book import Entry
from orchestrator.sandbox.faults import Faults
from orchestrator.sandbox.problems import Problem
from orchestrator.sandbox.provider import Provider
from orchestrator.sandbox.records import Amount


class TopUp(BaseModel):
    """Credits for an account."""

    account: str
    credits: Amount


class Control:
    """Handlers of `/sandbox`; `routes` lists them."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sandbox/faults", self.faults),
            web.post("/sandbox/faults", self.set_faults),
            web.get("/sandbox/ledger", self.ledger),
            web.post("/sandbox/top-up", self.top_up),
            web.get("/sandbox/requests", self.requests),
            web.get("/sandbox/stats", self.stats),
        ]

    async def faults(self, _: web.Request) -> web.Response:
        """The rules in force and how often each has struck."""
        return web.json_response({"rules": self._provider.faults.document()})

    async def set_faults(self, request: web.Request) -> web.Response:
        """Replaces all rules by those of the body, `{"rules": [...]}`."""
        try:
            faults = Faults.model_validate_json(await request.read())
        except ValidationError as error:
            raise Problem(400, "invalid_faults", str(error)) from None
        self._provider.faults.play(faults)
        return await self.faults(request)

    async def ledger(self, _: web.Request) -> web.Response:
        """Every movement of credits up to now, each account's balance, and every POST that arrived."""
        now, book = self._provider.clock(), self._provider.book
        balances = {account: canonical(balance) for account, balance in book.balances(now).items()}
        posts = [post.model_dump(mode="json", exclude={"kind"}) for post in book.posts()]
        entries = [_entry_document(entry) for entry in book.entries(now)]
        return web.json_response({"entries": entries, "balances": balances, "posts": posts})

    async def top_up(self, request: web.Request) -> web.Response:
        """Puts credits into an account, `{"account": "...", "credits": "10"}`; answers with the ledger."""
        try:
            wanted = TopUp.model_validate_json(await request.read())
        except ValidationError as error:
            raise Problem(400, "invalid_top_up", str(error)) from None
        self._provider.top_up(wanted.account, wanted.credits)
        return await self.ledger(request)

    async def requests(self, _: web.Request) -> web.Response:
        """Every accepted request as a poll would show it now, with its account."""
        answers = [
            {**self._provider.answer(request), "account": request.account} for request in self._provider.book.requests()
        ]
        return web.json_response({"requests": answers})

    async def stats(self, _: web.Request) -> web.Response:
        """Counts of what callers did. Polls, refused credentials and downloads count from the start of the process."""
        book = self._provider.book
        return web.json_response(
            {
                "sandbox": True,
                "posts": len(book.posts()),
                "requests": len(book.requests()),
                "in_flight": book.in_flight(self._provider.clock()),
                "max_in_flight": book.max_in_flight,
                **asdict(self._provider.counters),
            }
        )


def _entry_document(entry: Entry) -> dict[str, object]:
    return {**asdict(entry), "at": rfc3339(entry.at), "credits": canonical(entry.credits)}
