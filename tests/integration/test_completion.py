"""What Tab offers in a shell: words of the catalogue and of the database that there is; none is made for it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import update

from orchestrator.cli.entry import run
from orchestrator.store.database import Database
from orchestrator.store.tables import jobs

from .store_rows import make_batch


class Shell:
    """Asks what may stand at the end of a line, as bash does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def offers(self, line: str) -> list[str]:
        words = ["orchestrator", *shlex.split(line), *([""] if line.endswith(" ") else [])]
        self._monkeypatch.setenv("_ORCHESTRATOR_COMPLETE", "complete_bash")
        self._monkeypatch.setenv("COMP_WORDS", shlex.join(words))
        self._monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        with pytest.raises(SystemExit):
            run([])
        out, err = self._capsys.readouterr()
        assert err == ""
        return out.split()


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Shell(monkeypatch, capsys)


def test_commands_values_and_models_need_no_database(shell: Shell, tmp_path: Path) -> None:
    assert shell.offers("sch") == ["schema", "schedule"]
    assert shell.offers("budget s") == ["set", "show"]
    assert shell.offers("jobs x --state in") == ["in_doubt"]
    assert shell.offers("models seedance-2-0-f") == ["seedance-2-0-fast"]
    assert "glm-5-1-private" in shell.offers("attest ")
    assert "seedance-2-0" not in shell.offers("attest ")
    assert shell.offers("status ") == shell.offers("retry latest --job ") == shell.offers("schedule pause ") == []
    assert not (tmp_path / "home").exists()


def test_batches_and_jobs_come_from_the_database(
    shell: Shell, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_batch(database)
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    assert shell.offers("status ") == ["latest", "things", "things-20261122-0001"]
    assert shell.offers("export things-2") == ["things-20261122-0001"]
    assert shell.offers("reject things --job job-") == ["job-0", "job-1", "job-2"]
    assert shell.offers("retry things --job ") == shell.offers("resolve nothing --job ") == []


def test_a_job_whose_name_would_run_in_a_shell_is_not_offered(
    shell: Shell, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_batch(database)
    with database.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.name == "job-1").values(name="\\$(touch owned)"))
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", database_url)
    assert shell.offers("approve things --job ") == ["job-0", "job-2"]


def test_a_database_out_of_reach_offers_nothing_and_says_nothing(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    assert shell.offers("status ") == []


@pytest.mark.parametrize(
    ("command", "script"),
    [
        (
            ["bash", "--norc", "-c"],
            """
            eval "$(orchestrator --show-completion)"
            COMP_WORDS=(orchestrator doc) COMP_CWORD=1
            _orchestrator_completion orchestrator
            echo "${COMPREPLY[@]}"
            """,
        ),
        (
            ["fish", "--no-config", "-c"],
            """
            orchestrator --show-completion | source
            complete --do-complete "orchestrator doc" | cut --fields 1
            """,
        ),
        (
            ["zsh", "-f", "-c"],  # completes at a terminal only, so that the shell makes itself one
            """
            zmodload zsh/zpty
            zpty inner zsh -f -i
            zpty -w inner 'PS1= TERM=dumb; autoload -U compinit; compinit -u -D'
            zpty -w inner 'eval "$(orchestrator --show-completion)"'
            zpty -w inner 'print $((40 + 2)) is said once it is ready'
            zpty -r -m inner said '*42 is said*'
            zpty -w -n inner $'orchestrator doc\\t --nothing\\n'
            zpty -r -m inner said '*No such option*'
            [[ $said == *'orchestrator doctor'* ]] && print doctor
            """,
        ),
    ],
    ids=lambda of: of[0] if isinstance(of, list) else "",
)
def test_shells_take_the_script_that_is_printed(tmp_path: Path, command: list[str], script: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*command, script],
        env={"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == ["doctor"], done.stderr
