"""Text jobs against a real sandbox: the answer is the result, recorded once and whole, and charged by its usage."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

import pytest
from sqlalchemy import select

from orchestrator.base.errors import UsageError
from orchestrator.base.payments import SETTLEMENT_ALLOWANCE, USDC_PER_CREDIT, Payment
from orchestrator.catalog.bundled import bundled_catalog
from orchestrator.engine.local import LocalDriver
from orchestrator.operations.opening import Provider, open_engine
from orchestrator.operations.resolving import resolve
from orchestrator.operations.running import exit_code
from orchestrator.payments.payers import sandbox_payer
from orchestrator.planner.result import PlannedJob
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import accounts, creating
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import audit
from orchestrator.store.database import Database
from orchestrator.store.tables import assets, jobs, payments, submissions

from .engine_site import BATCH, Site, make_site

MODEL = "qwen3-6-flash"
RESERVE = Decimal(10)


@pytest.fixture
def site(tmp_path: Path, database: Database, database_url: str) -> Iterator[Site]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.01, wallet_balance=Decimal(5)) as sandbox:
        yield make_site(tmp_path, sandbox, database, database_url, stall_after=0.5)


def asked(*prompts: str, **more: Any) -> list[PlannedJob]:
    items = [{"type": "text", "model": MODEL, "prompt": prompt, "max_tokens": 200} | more for prompt in prompts]
    return [PlannedJob(n, f"job-{n}", "text", MODEL, item, {}, RESERVE) for n, item in enumerate(items)]


def content(asset: dict[str, Any]) -> str:
    return Path(unquote(urlsplit(asset["uri"]).path)).read_text()


def booked(site: Site) -> dict[str, Decimal]:
    """What each prompt cost, by the provider's books."""
    total: dict[str, Decimal] = {}
    for entry in site.sandbox.ledger():
        amount = entry.credits if entry.kind == "charge" else -entry.credits
        total[entry.prompt] = total.get(entry.prompt, Decimal(0)) + amount
    return total


async def test_an_answer_is_stored_with_its_usage_and_charged_by_it(site: Site) -> None:
    document = await site.run(site.store(asked("Reply with exactly: hello", "Say more"), bundle=5))
    assert (document["state"], exit_code(document)) == ("completed", 0)
    first, second = site.jobs().values()
    (asset,) = first["assets"]
    assert content(asset) == "hello"
    assert asset["mime_type"] == "text/plain; charset=utf-8"
    assert asset["sha256"] == hashlib.sha256(b"hello").hexdigest()
    assert asset["uri"].endswith(f"0-{asset['sha256'][:8]}.txt")
    assert first["request_id"].startswith("chatcmpl-")
    assert first["request_id"] != second["request_id"], "each text has a request of its own, whatever the bundle"
    spent = {job["id"]: Decimal(job["credits"]["spent"]) for job in (first, second)}
    assert spent == dict(zip(spent, booked(site).values(), strict=True))
    assert Decimal("0.1") <= spent["job-0"] < RESERVE
    index = json.loads((site.out / "things" / "index.json").read_text())["assets"][0]
    (kept,) = index["tags"]
    assert kept["finish_reason"] == "stop"
    assert kept["usage"]["imgnai"]["credits_charged"] == first["credits"]["spent"] == index["credits"]
    with site.database.begin() as connection:
        rows = connection.execute(select(assets.c.content, assets.c.stored_at)).all()
        assert all(row.content is None and row.stored_at for row in rows), "the text is in the destination alone"
        assert not audit(connection)


async def test_what_is_to_be_json_is_stored_as_json(site: Site) -> None:
    schema = {"type": "object", "properties": {"alt": {"type": "string"}, "people": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "caption", "schema": schema}}
    await site.run(site.store(asked("Say it", response_format=wanted)))
    ((job),) = site.jobs().values()
    (asset,) = job["assets"]
    assert asset["mime_type"] == "application/json"
    assert asset["uri"].endswith(".json")
    assert set(json.loads(content(asset))) == {"alt", "people"}


async def test_json_that_is_cut_is_no_result_and_what_it_cost_is_told(site: Site) -> None:
    await site.run(site.store(asked("Say it", response_format={"type": "json_object"}, max_tokens=2)))
    (job,) = site.jobs().values()
    assert (job["state"], job["error"]["code"], job["error"]["charged"]) == ("failed", "asset-corrupt", True)
    assert job["error"]["provider"]["message"].startswith("{")
    assert Decimal(job["credits"]["spent"]) == booked(site)["Say it"] == Decimal("0.1")


async def test_a_text_that_is_cut_is_a_result_with_a_label(site: Site) -> None:
    await site.run(site.store(asked("Say much", max_tokens=2)))
    (job,) = site.jobs().values()
    assert (job["state"], job["labels"]) == ("completed", {"finish_reason": "length"})
    assert len(content(job["assets"][0])) == 8


@pytest.mark.parametrize(
    ("marker", "code", "charged"), [("fail", "provider-failed", False), ("moderation", "moderation", True)]
)
async def test_an_answer_that_is_none(site: Site, marker: str, code: str, charged: bool) -> None:
    document = await site.run(site.store(asked(f"Say [sandbox:{marker}]")))
    (job,) = site.jobs().values()
    assert document["state"] == "failed"
    assert (job["state"], job["error"]["code"], job["error"]["charged"]) == ("failed", code, charged)
    assert Decimal(job["credits"]["spent"]) == sum(booked(site).values())


@pytest.mark.parametrize("kind", ["500-after-charge", "drop-after-charge", "garbage", "502-html-after-charge"])
async def test_a_lost_answer_leaves_the_job_in_doubt(site: Site, kind: str) -> None:
    site.play(FaultRule(at="submit", kind=kind))
    document = await site.run(site.store(asked("Say it")))
    (job,) = site.jobs().values()
    assert (job["state"], document["state"], exit_code(document)) == ("in_doubt", "held", 5)
    assert document["credits"]["in_doubt"] == "10"
    assert len([entry for entry in site.sandbox.ledger() if entry.kind == "charge"]) == 1, "it is not sent again"


@pytest.mark.parametrize("kind", ["429", "402", "403"])
async def test_a_refused_one_costs_nothing(site: Site, kind: str) -> None:
    site.play(FaultRule(at="submit", kind=kind, retry_after=0.1))
    scope = site.store(asked("Say it"))
    document = await site.run(scope)
    if document["state"] == "held":
        document = await site.resume(scope)
    assert document["state"] == "completed"
    assert len([entry for entry in site.sandbox.ledger() if entry.kind == "charge"]) == 1


async def test_what_costs_more_than_was_reserved_makes_no_other_dearer(site: Site) -> None:
    """A text's price says nothing of the next one's."""
    site.play(FaultRule(at="submit", kind="price", factor=Decimal(1000), match="Say it"))
    document = await site.run(site.store(asked("Say it", "Say on")))
    assert document["state"] == "completed"
    jobs_now = site.jobs()
    assert Decimal(jobs_now["job-0"]["credits"]["spent"]) == booked(site)["Say it"] > RESERVE
    assert Decimal(jobs_now["job-1"]["credits"]["spent"]) == booked(site)["Say on"] < RESERVE
    with site.database.begin() as connection:
        assert not audit(connection)
        assert connection.execute(select(jobs.c.price).where(jobs.c.name == "job-1")).scalar_one() in (None, RESERVE)


async def test_it_sees_the_stored_result_of_another_job(site: Site) -> None:
    picture = {"type": "image", "model": "gen", "prompt": "A mug", "aspect_ratio": "1:1"}
    parts = [
        {"type": "text", "text": "Describe it"},
        {"type": "image_url", "image_url": {"url": {"$from": "mug", "use": "original"}}},
    ]
    caption = {
        "type": "text",
        "model": "grok-4-3",
        "messages": [{"role": "user", "content": parts}],
        "max_tokens": 200,
    }
    document = await site.run(
        site.store(
            [
                PlannedJob(0, "mug", "image", "gen", picture, {}, Decimal(3)),
                PlannedJob(1, "alt", "text", "grok-4-3", caption, {}, RESERVE, needs=("mug",)),
            ]
        )
    )
    assert document["state"] == "completed", document
    (asset,) = site.jobs()["alt"]["assets"]
    assert content(asset)
    with site.database.begin() as connection:
        usage = connection.execute(select(assets.c.tags).where(assets.c.kind == "text")).scalar_one()[0]["usage"]
        assert usage["prompt_tokens"] > 1000, "the picture was sent"
        assert connection.execute(select(submissions.c.state)).scalars().all() == ["resolved", "resolved"]


async def run_in_usdc(
    site: Site, payment: Payment, planned: list[PlannedJob], *, seconds: float = 30
) -> dict[str, Any]:
    """Store and work a batch that is paid in USDC."""
    url = site.sandbox.base_url
    payer = sandbox_payer(BATCH, payment)
    provider = Provider(url, url, payer, f"{url}/rpc/base", f"{url}/rpc/solana")
    with site.database.begin() as connection:
        account_pk = accounts.account_pk(connection, provider.origin, provider.account, payment.unit)
        new = creating.NewBatch(
            id=BATCH,
            name="things",
            sandbox=False,
            account_pk=account_pk,
            destination=site.out.as_uri(),
            media=str(site.folder / "media"),
            key="{name}/{job}/{index}-{sha8}{ext}",
            bundle=3,
            labels={},
            manifest=str(site.folder / "things.yaml"),
            catalog=bundled_catalog(),
            estimated=(RESERVE * USDC_PER_CREDIT + SETTLEMENT_ALLOWANCE) * len(planned),
            budget=None,
            usd_per_credit=Decimal(1),
            jobs=planned,
            payment=payment,
            work_credits=RESERVE * len(planned),
        )
        creating.create_batch(connection, new)
    scope = Scope(account_pk, (BATCH,))
    async with asyncio.timeout(seconds), open_engine(site.settings, site.database, provider, scope) as engine:
        await LocalDriver(engine).run()
    return site.document()


async def test_a_wallet_pays_what_was_used(site: Site) -> None:
    document = await run_in_usdc(site, Payment.WALLET_BASE, asked("Say it", "Say on"))
    assert document["state"] == "completed", document
    charged = {entry.prompt: entry.usdc for entry in site.sandbox.ledger() if entry.kind == "charge"}
    refunded = {entry.prompt: entry.usdc for entry in site.sandbox.ledger() if entry.kind == "refund"}
    spent = [Decimal(job["usdc"]["spent"]) for job in site.jobs().values()]
    assert spent == [charged[prompt] - refunded[prompt] for prompt in ("Say it", "Say on")]
    assert all(amount < RESERVE * USDC_PER_CREDIT for amount in spent)
    with site.database.begin() as connection:
        assert not audit(connection)


@pytest.mark.parametrize("payment", [Payment.X402_BASE, Payment.X402_SOLANA])
async def test_a_payment_of_its_own_is_spent_whole(site: Site, payment: Payment) -> None:
    document = await run_in_usdc(site, payment, asked("Reply with exactly: paid"))
    assert document["state"] == "completed", document
    (job,) = site.jobs().values()
    assert content(job["assets"][0]) == "paid"
    (charge,) = site.sandbox.ledger()
    assert Decimal(job["usdc"]["spent"]) == charge.usdc > RESERVE * USDC_PER_CREDIT
    with site.database.begin() as connection:
        (paid,) = connection.execute(select(payments.c.state, payments.c.signed)).all()
        assert (paid.state, paid.signed) == ("settled", None)
        assert not audit(connection)


async def test_a_lost_answer_to_a_paid_text_comes_with_its_payment_once_more(site: Site) -> None:
    """What credits cannot do: the same bytes with the same payment are answered again."""
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    document = await run_in_usdc(site, Payment.X402_BASE, asked("Reply with exactly: twice"))
    assert document["state"] == "completed", document
    (job,) = site.jobs().values()
    assert content(job["assets"][0]) == "twice"
    (charge,) = site.sandbox.ledger()
    assert Decimal(job["usdc"]["spent"]) == charge.usdc
    with site.database.begin() as connection:
        assert not audit(connection)


async def test_no_request_id_brings_a_text_back(site: Site) -> None:
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    await site.run(site.store(asked("Say it")))
    with pytest.raises(UsageError, match="is a text"):
        resolve(BATCH, "job-0", site.settings, UUID(int=1))
    resolve(BATCH, "job-0", site.settings, "charged")
    (job,) = site.jobs().values()
    assert (job["state"], job["error"]["code"]) == ("failed", "payment-lost")
