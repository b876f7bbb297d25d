"""A database that is put back to an earlier state refuses to buy, takes over what its receipts prove, and goes on."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import event, select, text, update

from orchestrator.base import faults
from orchestrator.base.errors import Unusable
from orchestrator.engine.local import LocalDriver
from orchestrator.engine.receipts import Receipts
from orchestrator.operations.comparing import compare_with_collection
from orchestrator.operations.opening import open_engine
from orchestrator.operations.planning import plan
from orchestrator.operations.recovering import recover
from orchestrator.operations.resolving import resolve
from orchestrator.operations.resuming import resume, work
from orchestrator.operations.retrying import retry
from orchestrator.operations.submitting import SubmitOptions, submit
from orchestrator.receipts import book as book_module
from orchestrator.receipts.book import ReceiptBook, all_books
from orchestrator.receipts.receipt import Receipt
from orchestrator.sandbox import FaultRule, Sandbox
from orchestrator.store import recovery, sending
from orchestrator.store.accounts import Scope
from orchestrator.store.audit import audit
from orchestrator.store.claims import claim_submissions
from orchestrator.store.database import Database
from orchestrator.store.leases import Lease, WorkerSession
from orchestrator.store.orders import order_of
from orchestrator.store.tables import batches, jobs, submissions, usages

from .engine_site import BATCH, Site, make_site

Backup = Callable[[], Callable[[], None]]


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox", time_scale=0.02) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, sandbox: Sandbox, database: Database, database_url: str) -> Site:
    return make_site(tmp_path, sandbox, database, database_url)


@pytest.fixture(autouse=True)
def no_fault_hook() -> Iterator[None]:
    yield
    faults.install(None)


@pytest.fixture
def backup(database: Database, database_url: str) -> Backup:
    """Take a copy of the database as it is now; what it returns puts that copy back."""
    name = str(database.url.database)
    admin = database_url.replace("+psycopg", "").replace(f"/{name}?", "/postgres?")

    def copy(source: str, target: str) -> None:
        with psycopg.connect(admin, autocommit=True) as connection:
            end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN (%s, %s)"
            connection.execute(end, (source, target))
            connection.execute(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {target} TEMPLATE {source}".encode())

    def take() -> Callable[[], None]:
        copy(name, f"{name}_copy")

        def put_back() -> None:
            copy(f"{name}_copy", name)
            with psycopg.connect(admin, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name}_copy".encode())

        return put_back

    return take


def charges(site: Site) -> Counter[str]:
    """How often each prompt was charged, by the provider's own ledger."""
    return Counter(entry.prompt for entry in site.sandbox.charges())


def requests(site: Site) -> set[str]:
    return {entry.request_id for entry in site.sandbox.charges()}


async def until(holds: Callable[[], bool]) -> None:
    while not await asyncio.to_thread(holds):  # noqa: ASYNC110 - what it waits for is not of this loop
        await asyncio.sleep(0.02)


def resumed(site: Site, reference: str | None = None) -> list[dict[str, Any]]:
    return resume(reference, site.settings, confirm=lambda *_: True)


def assert_balanced(site: Site) -> None:
    with site.database.begin() as connection:
        assert list(map(str, audit(connection))) == []


@contextmanager
def stopped_at(point: str, visit: int) -> Iterator[Callable[[Site, Scope], None]]:
    """Works a batch until the `visit`-th time that it comes by a boundary."""
    visits: Counter[str] = Counter()

    def run(site: Site, scope: Scope) -> None:
        async def work_it() -> None:
            async with open_engine(site.settings, site.database, site.provider, scope) as engine:
                driver = LocalDriver(engine)
                loop = asyncio.get_running_loop()

                def hook(name: str) -> None:
                    visits[name] += 1
                    if (name, visits[name]) == (point, visit):
                        loop.call_soon_threadsafe(driver.stop)

                faults.install(hook)
                async with asyncio.timeout(20):
                    await driver.run()

        asyncio.run(work_it())
        faults.install(None)

    yield run
    faults.install(None)


def assert_refuses(call: Callable[[], Any]) -> None:
    with pytest.raises(Unusable, match="behind its receipts") as refused:
        call()
    assert refused.value.exit_code == 4
    assert "db recover" in str(refused.value.hint)


def assert_refused_everywhere(site: Site, manifest: Path) -> None:
    assert_refuses(lambda: submit(manifest, site.settings, confirm=lambda _: True))
    assert_refuses(lambda: resumed(site))
    assert_refuses(lambda: resumed(site, BATCH))
    assert_refuses(lambda: work(site.settings))


@pytest.fixture
def manifest(site: Site) -> Path:
    file = site.folder / "later.yaml"
    file.write_text(
        "version: 1\nname: later\ndestination: out\ndefaults: {type: image, model: gen, aspect_ratio: '1:1'}\n"
        "jobs:\n  - {id: one, prompt: A later thing}\n  - {id: two, prompt: Another later thing}\n"
    )
    return file


@pytest.mark.parametrize("bundle", [1, 3])
def test_a_backup_from_the_middle_of_a_batch_pays_for_nothing_again(
    site: Site, backup: Backup, manifest: Path, bundle: int
) -> None:
    scope = site.make_batch(12, bundle=bundle)
    with stopped_at("pay.answered", 2) as run:
        site.settings = site.settings.model_copy(update={"max_in_flight": 3})
        run(site, scope)
    before = requests(site)
    assert before
    put_back = backup()
    assert asyncio.run(site.resume(scope))["state"] == "completed"
    later = submit(manifest, site.settings, confirm=lambda _: True)
    assert later["state"] == "completed"
    paid = charges(site)
    put_back()

    assert_refused_everywhere(site, manifest)
    assert charges(site) == paid
    recovered = recover(site.settings)
    assert recovered["adopted"] == len(requests(site) - before)
    assert {batch["batch"]: batch["is_new"] for batch in recovered["batches"]} == {BATCH: False, later["batch"]: True}
    assert recover(site.settings) == {"adopted": 0, "batches": []}
    assert_balanced(site)
    documents = resumed(site)
    assert {document["batch"]: document["state"] for document in documents} == dict.fromkeys(
        (BATCH, later["batch"]), "completed"
    )
    assert charges(site) == paid
    assert set(paid.values()) == {1}
    assert {document["credits"]["reserved"] for document in documents} == {"0"}
    assert_balanced(site)
    site.audit()


def test_a_worker_notices_that_a_backup_was_put_back_under_it(site: Site, backup: Backup) -> None:
    """Its connections are cut, as a restore does; what it finds is behind, so it stops and buys nothing."""
    site.settings = site.settings.model_copy(update={"max_in_flight": 2})
    scope = site.make_batch(40)
    with stopped_at("receipt.written", 2) as run:
        run(site, scope)
    put_back = backup()

    async def run_on() -> None:
        running = asyncio.create_task(site.run(scope))
        await until(lambda: len(charges(site)) >= 8)
        await asyncio.to_thread(put_back)
        with pytest.raises(Unusable, match="behind its receipts"):
            await running

    asyncio.run(run_on())
    recover(site.settings)
    (document,) = resumed(site)
    assert document["jobs"]["completed"] + document["jobs"]["in_doubt"] == 40
    assert set(charges(site).values()) == {1}
    assert_balanced(site)


def test_a_receipt_without_its_commit_is_a_late_answer(site: Site) -> None:
    """As after a kill between the two: the answer is heard again, and nothing is in doubt."""
    scope = site.make_batch(3)
    with stopped_at("pay.answered", 3) as run:
        run(site, scope)
    with site.database.begin() as connection:
        last = select(submissions.c.id).order_by(submissions.c.accepted_at.desc()).limit(1)  # it was not polled yet
        one = connection.execute(last).scalar_one()
        for table in ("submission", "job"):
            connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {table}_transition"))
        as_sent = {"state": "sent", "request_id": None, "accepted_at": None, "due_at": None}
        connection.execute(update(submissions).where(submissions.c.id == one).values(as_sent))
        connection.execute(update(jobs).where(jobs.c.submission_id == one).values(state="submitting"))
        for table in ("submission", "job"):
            connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER {table}_transition"))
    document = asyncio.run(site.resume(scope))
    assert (document["state"], document["jobs"]["completed"]) == ("completed", 3)
    assert_balanced(site)
    site.audit()


def test_an_answer_that_its_sender_is_about_to_record_is_not_late(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    scope = site.make_batch(1)
    session = WorkerSession(site.database)
    lease = Lease(uuid4(), session.ensure(), 60)
    with site.database.begin() as connection:
        (work,) = claim_submissions(connection, scope, lease=lease, limit=1, max_in_flight=1)
        sending.mark_sent(connection, [sending.Departure(work.id, work.token, "00")], lease_seconds=60)
        order = order_of(connection, work.id)
    book = ReceiptBook(site.settings.home, order.origin, order.account)
    book.write(Receipt.sent(order))
    book.write(Receipt(at=order.sent_at, request_id="r-1", order=order))
    receipts = Receipts(book, site.database, scope.account_pk)
    receipts.bring_up_to_date()
    assert (site.states(), caplog.messages) == (["submitting"], [])
    session.close()
    receipts.bring_up_to_date()
    assert site.states() == ["generating"]


def test_many_late_answers_are_told_in_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    scope = site.make_batch(2)
    site.play(FaultRule(at="submit", kind="drop-after-charge", times=2))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == 2
    book = ReceiptBook(site.settings.home, site.provider.origin, site.provider.account)
    with site.database.begin() as connection:
        sent = [
            order_of(connection, submission) for submission in connection.execute(select(submissions.c.id)).scalars()
        ]
    for charge, order in zip(site.sandbox.charges(), sent, strict=True):
        book.write(Receipt(at=datetime.now(UTC), request_id=charge.request_id, order=order))
    caplog.clear()
    Receipts(book, site.database, scope.account_pk).bring_up_to_date()
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"batch {BATCH}: 2 answer(s) that were heard before are recorded from their receipts"
    ]


def test_an_answer_that_is_committed_while_receipts_are_compared_is_not_missing(site: Site) -> None:
    scope = site.make_batch(1)
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == 1
    (charge,) = site.sandbox.charges()
    _leave_receipt(site, charge.request_id)
    (slip,) = all_books(site.settings.home)[0].newest(1)
    with site.database.begin() as connection:

        def commit_meanwhile(*_: object) -> None:
            with site.database.begin() as other:
                assert recovery.record_late(other, slip.receipt())

        event.listen(connection, "after_cursor_execute", commit_meanwhile, once=True)
        assert recovery.compare(connection, scope.account_pk, [slip]).missing == []
    assert asyncio.run(site.resume(scope))["state"] == "completed"
    site.audit()


def test_a_doubt_that_a_receipt_settles(site: Site) -> None:
    """Also where another process had found it in doubt long before."""
    scope = site.make_batch(1)
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == 1
    (charge,) = site.sandbox.charges()
    _leave_receipt(site, charge.request_id)
    assert asyncio.run(site.resume(scope))["state"] == "completed"
    assert_balanced(site)
    site.audit()


@pytest.mark.parametrize("is_bought_again", [False, True])
def test_a_loss_whose_receipt_turns_up_is_booked_once(site: Site, is_bought_again: bool) -> None:
    """A doubt was settled as charged; then comes its receipt, from another home: what was lost is what is fetched."""
    scope = site.make_batch(2, bundle=2)
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == 2
    request_id = site.sandbox.charges()[0].request_id
    with site.database.begin() as connection:
        order = order_of(connection, connection.execute(select(submissions.c.id)).scalar_one())
    assert resolve(BATCH, "job-0", site.settings, "charged")["credits"]["lost"] == "6"
    if is_bought_again:
        retry(BATCH, site.settings, job="job-0", again=True, confirm=lambda *_: True)
    book = ReceiptBook(site.settings.home, order.origin, order.account)
    book.write(Receipt(at=datetime.now(UTC), request_id=request_id, order=order))

    assert recover(site.settings)["adopted"] == 1
    assert_balanced(site)
    documents = resumed(site)
    assert {document["state"] for document in documents} == {"completed"}
    booked = sum(entry.credits for entry in site.sandbox.charges())
    assert sum(Decimal(document["credits"]["spent"]) for document in documents) == booked
    assert {document["credits"]["lost"] for document in documents} == {"0"}
    assert_balanced(site)


def test_receipts_of_any_age_are_taken_over(site: Site, backup: Backup) -> None:
    """Also a database far older than anything that can still be fetched buys nothing again."""
    scope = site.make_batch(1)
    put_back = backup()
    assert asyncio.run(site.run(scope))["state"] == "completed"
    put_back()
    (file,) = (site.settings.home / "receipts").glob("*/*.jsonl")
    file.rename(file.with_name("2020-02-29.jsonl"))
    assert_refuses(lambda: resumed(site))
    assert recover(site.settings)["adopted"] == 1
    (document,) = resumed(site)
    assert (document["state"], set(charges(site).values())) == ("completed", {1})
    assert_balanced(site)


def test_what_is_taken_over_counts_in_the_caps_of_its_day(site: Site, backup: Backup) -> None:
    scope = site.make_batch(1)
    put_back = backup()
    assert asyncio.run(site.run(scope))["state"] == "completed"
    put_back()
    (book,) = all_books(site.settings.home)
    (receipt,) = (slip.receipt() for slip in book.newest(1))
    (file,) = (site.settings.home / "receipts").glob("*/*.jsonl")
    file.unlink()
    bought_at = receipt.at - timedelta(days=2)
    book.write(receipt.model_copy(update={"at": bought_at}))
    assert recover(site.settings)["adopted"] == 1
    assert_balanced(site)
    assert resumed(site)[0]["state"] == "completed"
    with site.database.begin() as connection:
        days = connection.execute(select(usages.c.day).distinct()).scalars().all()
    assert days == [bought_at.date()]
    assert_balanced(site)


@pytest.mark.parametrize("bundle", [1, 2])
def test_a_lost_answer_that_is_forgotten_is_in_doubt_again(site: Site, backup: Backup, bundle: int) -> None:
    """It may have been charged: its receipt says that it was sent, and nothing says what became of it."""
    scope = site.make_batch(4, bundle=bundle)
    put_back = backup()
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == bundle
    paid = charges(site)
    put_back()

    assert_refuses(lambda: resumed(site))
    recovered = recover(site.settings)
    assert recovered["adopted"] == 4 // bundle
    (batch,) = recovered["batches"]
    assert len(batch["in_doubt"]) == bundle
    assert recover(site.settings) == {"adopted": 0, "batches": []}
    assert_balanced(site)
    (document,) = resumed(site)
    assert (document["state"], document["holds"][0]["code"]) == ("held", "in-doubt")
    assert (document["jobs"]["in_doubt"], document["jobs"]["completed"]) == (bundle, 4 - bundle)
    assert document["credits"]["in_doubt"] == str(3 * bundle)
    assert charges(site) == paid
    assert set(paid.values()) == {1}
    resolve(BATCH, batch["in_doubt"][0], site.settings, "charged")
    assert_balanced(site)
    site.audit()


def test_a_lost_answer_of_a_batch_that_is_forgotten_makes_it_anew(site: Site, backup: Backup, manifest: Path) -> None:
    put_back = backup()
    site.play(FaultRule(at="submit", kind="drop-after-charge"))
    batch_id = submit(manifest, site.settings, confirm=lambda _: True)["batch"]
    with site.database.begin() as connection:
        in_doubt = [connection.execute(select(jobs.c.name).where(jobs.c.state == "in_doubt")).scalar_one()]
    put_back()
    assert_refuses(lambda: resumed(site))
    (batch,) = recover(site.settings)["batches"]
    assert (batch["batch"], batch["is_new"], batch["in_doubt"]) == (batch_id, True, in_doubt)
    (document,) = resumed(site)
    assert (document["jobs"]["in_doubt"], document["jobs"]["completed"]) == (1, 1)
    assert set(charges(site).values()) == {1}
    assert_balanced(site)


@pytest.mark.parametrize("kind", ["402", "429", "401"])
def test_what_was_refused_is_in_no_doubt_after_a_restore(site: Site, backup: Backup, kind: str) -> None:
    scope = site.make_batch(2)
    put_back = backup()
    site.play(FaultRule(at="submit", kind=kind, times=None))
    with stopped_at("pay.answered", 2) as run:
        run(site, scope)
    site.play()
    assert charges(site) == {}
    put_back()
    assert recover(site.settings) == {"adopted": 0, "batches": []}
    (document,) = resumed(site)
    assert (document["state"], set(charges(site).values())) == ("completed", {1})
    assert_balanced(site)
    site.audit()


@pytest.mark.parametrize("said", ["not-charged", "charged"])
def test_a_doubt_that_a_person_had_settled_before_a_restore(
    site: Site, backup: Backup, said: Literal["charged", "not-charged"]
) -> None:
    """As not charged, it stays so and its job is not bought beside it; as charged, it is asked again."""
    scope = site.make_batch(1)
    put_back = backup()
    site.play(FaultRule(at="submit", kind="drop-before-charge"))
    asyncio.run(site.run(scope))
    resolve(BATCH, "job-0", site.settings, said)
    asyncio.run(site.resume(scope))
    put_back()
    (batch,) = recover(site.settings)["batches"]
    (document,) = resumed(site)
    is_open = said == "charged"
    assert (batch["jobs"], document["state"]) == (["job-0"], "held" if is_open else "completed")
    assert set(charges(site).values()) == (set() if is_open else {1})
    assert_balanced(site)


@pytest.mark.parametrize("looks_alive", [True, False])
def test_what_was_about_to_be_sent_when_the_backup_was_made(site: Site, looks_alive: bool) -> None:
    """Such a backup has its intent, under a lease that may look alive; that it was sent is only in its receipt."""
    scope = site.make_batch(1)
    session = WorkerSession(site.database)
    owner = session.ensure()
    with site.database.begin() as connection:
        (work,) = claim_submissions(connection, scope, lease=Lease(uuid4(), owner, 60), limit=1, max_in_flight=1)
    with site.database.engine.connect() as connection:  # rolled back: what the backup has not
        sending.mark_sent(connection, [sending.Departure(work.id, work.token, "00")], lease_seconds=60)
        order = order_of(connection, work.id)
    ReceiptBook(site.settings.home, order.origin, order.account).write(Receipt.sent(order))
    if not looks_alive:
        session.close()

    (batch,) = recover(site.settings)["batches"]
    assert (batch["jobs"], batch["in_doubt"]) == (["job-0"], ["job-0"])
    assert recover(site.settings)["adopted"] == 0
    session.close()
    assert_balanced(site)
    (document,) = resumed(site)
    assert (document["state"], document["jobs"]["in_doubt"]) == ("held", 1)
    assert charges(site) == {}
    resolve(BATCH, "job-0", site.settings, "not-charged")
    assert asyncio.run(site.resume(scope))["state"] == "completed"
    assert_balanced(site)


@pytest.mark.parametrize("is_recovered", [True, False])
def test_a_refusal_whose_receipt_alone_is_left_is_no_doubt(site: Site, is_recovered: bool) -> None:
    """Of a backup that was made before it was heard, or of a process that died before it was committed."""
    scope = site.make_batch(1)
    session = WorkerSession(site.database)
    owner = session.ensure()
    with site.database.begin() as connection:
        (work,) = claim_submissions(connection, scope, lease=Lease(uuid4(), owner, 60), limit=1, max_in_flight=1)
        sending.mark_sent(connection, [sending.Departure(work.id, work.token, "00")], lease_seconds=60)
        order = order_of(connection, work.id)
    session.close()
    book = ReceiptBook(site.settings.home, order.origin, order.account)
    for receipt in (Receipt.sent(order), Receipt.not_charged(order)):
        book.write(receipt)
    if is_recovered:
        assert recover(site.settings)["adopted"] == 0
        assert site.states() == ["pending"]
    assert asyncio.run(site.resume(scope))["state"] == "completed"
    assert_balanced(site)
    site.audit()


def test_a_refusal_is_heard_long_after_its_submission_came_into_doubt(site: Site) -> None:
    """By a process that has looked for its receipt before: it may be another one that hears the answer."""
    scope = site.make_batch(2)
    site.play(FaultRule(at="submit", kind="drop-before-charge", times=2))
    assert asyncio.run(site.run(scope))["jobs"]["in_doubt"] == 2
    with site.database.begin() as connection:
        ids = connection.execute(select(submissions.c.id)).scalars().all()
        orders = [order_of(connection, submission_id) for submission_id in ids]
    book = ReceiptBook(site.settings.home, orders[0].origin, orders[0].account)
    receipts = Receipts(book, site.database, scope.account_pk)
    for count, order in enumerate(orders):
        receipts.settle_doubts()
        assert site.states().count("pending") == count
        book.write(Receipt.not_charged(order))
    receipts.settle_doubts()
    assert site.states() == ["pending", "pending"]
    assert_balanced(site)


def test_nothing_leaves_without_a_receipt_that_says_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    scope = site.make_batch(1)
    append, tries = book_module._append, Counter[str]()

    def fails_twice(file: Path, lines: bytes) -> None:
        tries["lines"] += bool(lines)
        if lines and tries["lines"] <= 2:
            assert charges(site) == {}
            raise OSError(28, "No space left on device")
        append(file, lines)

    monkeypatch.setattr(book_module, "_append", fails_twice)
    document = asyncio.run(site.run(scope))
    assert (document["state"], site.jobs()["job-0"]["attempts"]) == ("completed", 1)
    assert (tries["lines"], site.asked("stats")["posts"]) == (4, 1)
    assert_balanced(site)
    site.audit()


def _leave_receipt(site: Site, request_id: str) -> None:
    with site.database.begin() as connection:
        order = order_of(connection, connection.execute(select(submissions.c.id)).scalar_one())
    book = ReceiptBook(site.settings.home, order.origin, order.account)
    book.write(Receipt(at=datetime.now(UTC), request_id=request_id, order=order))


@pytest.mark.parametrize("stop_at", ["receipt.written", None])
def test_a_job_that_is_busy_elsewhere_gets_a_second_one_beside_it(
    site: Site, backup: Backup, stop_at: str | None
) -> None:
    """Its receipts were lost with its machine and came back late: it was bought again, and both are fetched."""
    scope = site.make_batch(1)
    put_back = backup()
    assert asyncio.run(site.run(scope))["state"] == "completed"
    put_back()
    receipts = site.settings.home / "receipts"
    receipts.rename(site.folder / "away")
    if stop_at is None:
        assert asyncio.run(site.run(scope))["state"] == "completed"
    else:
        with stopped_at(stop_at, 1) as run:
            run(site, scope)
    for file in (site.folder / "away").glob("*/*.jsonl"):
        newer = receipts / file.relative_to(site.folder / "away")
        newer.write_bytes(file.read_bytes() + newer.read_bytes())

    (recovered,) = recover(site.settings)["batches"]
    batch, job = (BATCH, "job-0-recovered") if stop_at else (f"{BATCH}-recovered", "job-0")
    assert (recovered["batch"], recovered["jobs"], recovered["is_new"]) == (batch, [job], stop_at is None)
    assert {document["state"] for document in resumed(site)} == {"completed"}
    with site.database.begin() as connection:
        spent = connection.execute(select(jobs.c.spent)).scalars().all()
    assert len(spent) == len(requests(site)) == 2
    assert sum(spent) == sum(entry.credits for entry in site.sandbox.charges())
    assert_balanced(site)


def test_receipts_that_come_back_one_by_one_find_a_batch_each_time(site: Site, backup: Backup) -> None:
    """As from several homes: the batch and those made beside it have ended each time that more turns up."""
    scope = site.make_batch(1)
    put_back = backup()
    away = [site.folder / f"away-{n}" for n in range(3)]
    receipts = site.settings.home / "receipts"
    for n, folder in enumerate(away):
        assert asyncio.run(site.run(scope))["state"] == "completed"
        if n < 2:
            put_back()
            put_back = backup()
            receipts.rename(folder)
    found = []
    for folder in away[:2]:
        for file in folder.glob("*/*.jsonl"):
            current = receipts / file.relative_to(folder)
            current.write_bytes(file.read_bytes() + current.read_bytes())
        found += recover(site.settings)["batches"]
        assert {document["state"] for document in resumed(site)} == {"completed"}
    assert [batch["batch"] for batch in found] == [f"{BATCH}-recovered", f"{BATCH}-recovered-2"]
    assert_balanced(site)


def night(site: Site, **prompts: str) -> dict[str, Any]:
    """Submit a collection of pictures of these names, and a video from each of them."""
    jobs: list[dict[str, Any]] = []
    for name, prompt in prompts.items():
        shape = {"prompt": prompt, "aspect_ratio": "1:1"}
        jobs.append({"id": name, "type": "image", "model": "gen"} | shape)
        first_frame = {"first_frame_image_url": {"from": name}}
        video = {"id": f"{name}-turn", "type": "video", "model": "ltx-2-3", "duration_seconds": 5}
        jobs.append(video | shape | {"aspect_ratio": "16:9", "video_image_data": first_frame})
    (site.folder / "night.json").write_text(
        json.dumps({"version": 1, "name": "night", "destination": str(site.out), "jobs": jobs})
    )
    return submit(site.folder / "night.json", site.settings, confirm=lambda _: True)


def test_what_was_taken_over_is_not_bought_again_by_the_next_night(site: Site, backup: Backup) -> None:
    """Its receipt knows a chained job by its fingerprint: the item that was sent does not say what it was made from."""
    put_back = backup()
    assert night(site, mug="A mug")["state"] == "completed"
    paid = charges(site)
    put_back()
    recover(site.settings)
    assert [document["state"] for document in resumed(site)] == ["completed"]
    comparison = compare_with_collection(plan(site.folder / "night.json", site.settings), site.settings)
    assert {verdict.job.id: str(verdict.standing) for verdict in comparison.verdicts} == {
        "mug": "reused", "mug-turn": "reused",
    }  # fmt: skip
    assert night(site, mug="A mug")["reused"] == 2
    assert charges(site) == paid


def test_what_was_taken_over_leaves_the_rest_of_its_collection_in_the_index(site: Site, backup: Backup) -> None:
    night(site, mug="A mug")
    put_back = backup()
    night(site, mug="A mug", cup="A cup")
    put_back()
    recover(site.settings)
    resumed(site)
    index = json.loads((site.out / "night" / "index.json").read_text())
    assert {asset["job"] for asset in index["assets"]} == {"mug", "mug-turn", "cup", "cup-turn"}


def test_without_room_for_receipts_nothing_more_is_bought(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """F33: what is under way is recorded and fetched; sending goes on when there is room."""
    site.settings = site.settings.model_copy(update={"max_in_flight": 2})
    scope = site.make_batch(8)
    full = OSError(28, "No space left on device")
    free = {"now": True}
    append = book_module._append

    def fails_when_full(file: Path, lines: bytes) -> None:
        if not free["now"]:
            raise full
        append(file, lines)

    monkeypatch.setattr(book_module, "_append", fails_when_full)

    async def run_on() -> None:
        running = asyncio.create_task(site.run(scope))
        await until(lambda: bool(charges(site)))
        free["now"] = False
        await until(lambda: set(site.states()) == {"completed", "pending"})
        paid = charges(site)
        await asyncio.sleep(0.5)
        assert charges(site) == paid
        assert len(paid) <= 4
        free["now"] = True
        assert (await running)["state"] == "completed"

    asyncio.run(run_on())
    assert set(charges(site).values()) == {1}
    site.audit()


def test_a_sandbox_brought_along_leaves_no_receipts(site: Site, manifest: Path) -> None:
    document = submit(manifest, site.settings, SubmitOptions(sandbox=True), confirm=lambda _: True)
    assert document["state"] == "completed"
    assert all_books(site.settings.home) == []


def test_no_secret_and_no_media_is_in_a_receipt(site: Site) -> None:
    assert asyncio.run(site.run(site.make_batch(2)))["state"] == "completed"
    (book,) = all_books(site.settings.home)
    lines = b"".join(slip.line for slip in book.newest(9))
    assert b"X-API" not in lines
    assert b"base64" not in lines
    with site.database.begin() as connection:
        assert connection.execute(select(batches.c.id)).scalar_one().encode() in lines
