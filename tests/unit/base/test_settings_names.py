"""A setting is read by its public name only."""

from pathlib import Path

import pytest

from orchestrator.base.settings import load_settings, unread_names


def test_variables_of_other_programs_are_not_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "DATABASE_URL", "BROKER_URL", "DESTINATION", "MEDIA", "ACTOR"):
        monkeypatch.setenv(name, "/elsewhere")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = load_settings()
    assert settings.home == tmp_path / "katana-orchestrator"
    assert settings.destination == "./output"
    assert settings.actor != "/elsewhere"
    assert (settings.database_url, settings.broker_url, settings.media) == (None, None, None)


def test_overrides_go_by_field_name_and_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORCHESTRATOR_HOME", "/from-the-environment")
    settings = load_settings(home=tmp_path, broker_url="redis://127.0.0.1", max_in_flight=3)
    assert (settings.home, settings.max_in_flight) == (tmp_path, 3)
    assert settings.broker_url is not None
    with pytest.raises(TypeError, match="no setting 'hoem'"):
        load_settings(hoem=tmp_path)


def test_misspelt_settings_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ORCHESTRATOR_HOME", "KATANA_API_KEY_FILE", "ORCHESTRATOR_MAX_IN_FLIHGT", "HOME"):
        monkeypatch.setenv(name, "x")
    (tmp_path / ".env").write_text("KATANA_NOTHING_LIKE_IT=1\nORCHESTRATOR_MEDIA=x\n")
    assert unread_names() == {
        "KATANA_NOTHING_LIKE_IT": None,
        "ORCHESTRATOR_MAX_IN_FLIHGT": "ORCHESTRATOR_MAX_IN_FLIGHT",
    }
