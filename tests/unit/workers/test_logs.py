"""Celery's own lines carry no secret either."""

import io
import logging

import pytest

from workers import logs


def test_celerys_lines_keep_their_form_without_the_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KATANA_API_SECRET", "the-secret-of-katana")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logger = logging.Logger("of celery")
    logger.addHandler(handler)
    logs._redact(logger)
    logger.warning("Connected to %s with %s", "redis://:word@127.0.0.1/0", "the-secret-of-katana")
    assert written.getvalue() == "[WARNING] Connected to redis://***@127.0.0.1/0 with ***\n"


@pytest.mark.parametrize(("asked_for", "left"), [(logging.INFO, logging.WARNING), (logging.DEBUG, logging.NOTSET)])
def test_text_tells_no_hint_and_no_call_unless_all_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked_for: int, left: int
) -> None:
    for name in logs._CHATTY:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    logs._set_up_text(logging.Logger("of celery"), loglevel=asked_for)
    assert {logging.getLogger(name).level for name in logs._CHATTY} == {left}
