"""How Flower starts: closed, read-only and on this machine only, unless its operator says otherwise."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from celery.signals import import_modules
from flower.options import options

from workers import flower


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What `celery` was started with, in place of this process's own."""
    environment: dict[str, str] = {}
    monkeypatch.setattr(flower, "os", SimpleNamespace(environ=environment))
    yield environment
    options.basic_auth = []
    import_modules.disconnect(flower._close_the_door)


def prepare(command: str) -> None:
    with click.Context(click.Command("celery")) as context:
        context.invoked_subcommand = command
        flower.prepare()


def test_only_flower_is_given_defaults(environment: dict[str, str]) -> None:
    prepare("worker")
    flower.prepare()
    assert environment == {}


def test_what_the_operator_sets_wins(environment: dict[str, str]) -> None:
    environment |= {"FLOWER_ADDRESS": "0.0.0.0", "FLOWER_READ_ONLY": "false"}
    prepare("flower")
    assert (environment["FLOWER_ADDRESS"], environment["FLOWER_READ_ONLY"]) == ("0.0.0.0", "false")
    assert environment["FLOWER_NATURAL_TIME"] == "true"


def test_a_password_may_be_in_a_file(environment: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("someone:their-password\n")
    environment["FLOWER_BASIC_AUTH_FILE"] = str(file)
    prepare("flower")
    assert environment["FLOWER_BASIC_AUTH"] == "someone:their-password"


def test_a_password_file_that_is_not_there_opens_no_door(
    environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment["FLOWER_BASIC_AUTH_FILE"] = str(tmp_path / "nothing")
    with pytest.raises(SystemExit) as ended:
        prepare("flower")
    assert ended.value.code == 4
    assert "FLOWER_BASIC_AUTH_FILE cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("unset", [[], [""]])
def test_without_a_password_one_is_made_and_said(unset: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options.basic_auth = unset
    flower._close_the_door()
    (made,) = options.basic_auth
    user, _, password = made.partition(":")
    assert user == "flower"
    assert len(password) >= 24
    assert password in capsys.readouterr().err


def test_a_password_that_is_set_is_kept_and_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    options.basic_auth = ["someone:their-password"]
    flower._close_the_door()
    assert options.basic_auth == ["someone:their-password"]
    assert capsys.readouterr().err == ""
