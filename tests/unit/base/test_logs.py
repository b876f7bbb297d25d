"""Structured logs: one line of JSON an event, and nothing secret in any line."""

import json
import logging
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.base.logs import JsonFormatter, LogEvent, as_event, redactor
from orchestrator.base.settings import load_settings

redact = redactor(["hunter-2-hunter", "short", "hunter-2-hunter-and-more", 'quoted-"\\-secret-ü'])


def line_of(message: str = "money %s", *words: str, **fields: Any) -> dict[str, Any]:
    record = logging.LogRecord("orchestrator.engine", logging.WARNING, "f.py", 1, message, words or ("stays",), None)
    vars(record).update(fields)
    formatted = JsonFormatter(redact).format(record)
    assert "\n" not in formatted
    return dict(json.loads(formatted))


def test_a_line_has_its_event_and_its_facts() -> None:
    facts = as_event(LogEvent.JOB_IN_DOUBT, batch="b-1", job="mug", request_id=None, amount=Decimal("2.50"))
    line = line_of(**facts, created=0.25)
    assert line == {
        "at": "1970-01-01T00:00:00.250Z",
        "level": "warning",
        "event": "job-in-doubt",
        "message": "money stays",
        "logger": "orchestrator.engine",
        "batch": "b-1",
        "job": "mug",
        "amount": "2.50",
    }


def test_what_has_no_name_is_a_note_and_an_exception_is_a_fault() -> None:
    assert line_of()["event"] == line_of(event="of a library")["event"] == "note"
    try:
        raise ValueError("with hunter-2-hunter inside")
    except ValueError:
        line = line_of(exc_info=sys.exc_info())
    assert (line["event"], line["exception"].splitlines()[-1]) == ("fault", "ValueError: with *** inside")


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ('bad dsn: password=hunter22" near here', 'bad dsn: password=***" near here'),
        ('bad dsn: password="hunter22" near', 'bad dsn: password="***" near'),
        ('sent {"X-API-Key": "hunter2222"}', 'sent {"X-API-Key": "***"}'),
        (f"{'eyJ4' * 25}\nnext", "***\nnext"),
    ],
)
def test_a_line_stays_json_without_the_secrets_of_its_message(told: str, left: str) -> None:
    assert line_of("%s", told)["message"] == left


def test_a_fact_is_no_secret_either_and_what_is_public_stays() -> None:
    evidence = {"transaction": "5j7s" * 22, "seen": [{"signature": "5j7s" * 22}, "at https://a.test/x?sig=1"], "n": 2}
    line = line_of(facts={"evidence": evidence, "url": "redis://:word@cache/0", "amount": Decimal("1.5"), "ok": True})
    assert (line["url"], line["amount"], line["ok"]) == ("redis://***@cache/0", "1.5", True)
    assert line["evidence"] == {
        "transaction": "5j7s" * 22,
        "seen": [{"signature": "***"}, "at https://a.test/x?***"],
        "n": 2,
    }


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("GET https://a.test/x.png?X-Amz-Signature=abc&x=1 failed", "GET https://a.test/x.png?*** failed"),
        ("see https://a.test/x.png", "see https://a.test/x.png"),
        ("postgresql://user:pa55@db.test:5432/o is gone", "postgresql://***@db.test:5432/o is gone"),
        ("redis://:pa55word@cache/0", "redis://***@cache/0"),
        ('{"X-API-Key": "k-123456", "a": 1}', '{"X-API-Key": "***", "a": 1}'),
        (json.dumps('{"X-API-Key": "k-123456"}'), json.dumps('{"X-API-Key": "***"}')),
        ("{'Authorization': 'Bearer k-123456:s'}", "{'Authorization': 'Bearer ***'}"),
        ("KATANA_API_SECRET=abcdef123 in .env", "KATANA_API_SECRET=*** in .env"),
        ("KATANA_API_SECRET is not set", "KATANA_API_SECRET is not set"),
        ("payment-signature: eyJ4NDAyVmVyc2lvbiI6Mn0=", "payment-signature: ***"),
        (f"signed {'eyJ4' * 25}== here", "signed *** here"),
        (f"sha256 {'0f' * 32}, tx 0x{'ab' * 32}", f"sha256 {'0f' * 32}, tx 0x{'ab' * 32}"),
        ("hunter-2-hunter-and-more, hunter-2-hunter", "***, ***"),
        (json.dumps('quoted-"\\-secret-ü'), '"***"'),
        (json.dumps('quoted-"\\-secret-ü', ensure_ascii=False), '"***"'),
        ("postgresql://me:pa/5word@db.test/o", "postgresql://***@db.test/o"),
        ("s3://shop/" + "k/" * 60 + "0-1@2x.png", "s3://shop/" + "k/" * 60 + "0-1@2x.png"),
        (json.dumps({"transaction": "5j7s" * 22}), json.dumps({"transaction": "5j7s" * 22})),
        (json.dumps(json.dumps({"transaction": "5j7s" * 22})), json.dumps(json.dumps({"transaction": "5j7s" * 22}))),
        ("5j7s" * 22, "***"),
        ("a short word is no secret", "a short word is no secret"),
        ("batch spring-catalog-20261122-7f3a: job mug", "batch spring-catalog-20261122-7f3a: job mug"),
    ],
)
def test_what_looks_like_a_secret_is_masked(told: str, left: str) -> None:
    assert redact(told) == left


def test_every_secret_of_the_settings_is_masked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = {
        "KATANA_API_KEY": "the-key-of-katana",
        "KATANA_API_SECRET": "the-secret-of-katana",
        "EVM_PRIVATE_KEY": "0x" + "1f" * 32,
        "SVM_PRIVATE_KEY": "3sPk" * 22,
        "ORCHESTRATOR_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
    urls = {
        "ORCHESTRATOR_DATABASE_URL": "postgresql://me:pass%40word@db.test/o",
        "BASE_RPC_URL": "https://mainnet.base.org,https://rpc.test/v2/key-in-the-path",
    }
    for name, value in (secrets | urls).items():
        monkeypatch.setenv(name, value)
    masked = redactor(load_settings().secrets)
    told = " ".join([*secrets.values(), "pass@word", "https://rpc.test/v2/key-in-the-path", "https://mainnet.base.org"])
    assert masked(told) == "*** *** *** *** *** *** *** https://mainnet.base.org"
