"""What the command line does with bad input: a short message, the right exit code, and no traceback ever."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.conftest import CREDENTIALS, MUG, Cli

COMMANDS = (
    "plan", "submit", "status", "jobs", "watch", "wait", "resume", "pause", "cancel", "retry", "approve", "reject",
    "resolve", "adopt", "budget", "budget set", "budget show", "ledger", "ledger statement", "models", "balance",
    "sandbox", "worker", "doctor", "db", "db upgrade", "db copy", "report", "review apply",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(cli: Cli, command: str) -> None:
    result = cli(*command.split(), "-h")
    assert (result.code, result.stderr) == (0, "")
    assert "Usage: orchestrator" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"], ["submit", "x.yaml", "--again"], ["plan", "x.yaml", "--compare"], ["jobs"],
        ["submit", "x.yaml", "--max-credits", "0"], ["submit", "x.yaml", "--max-credits", "1e999999"],
        ["submit", "x.yaml", "--max-credits", "NaN"], ["plan", "x.yaml", "--max-credits", "-3"],
        ["wait", "x", "--timeout", "soon"], ["wait", "x", "--tolerate", "200%"], ["jobs", "x", "--by", "colour"],
        ["submit", "x.yaml", "--sandbox", "--detach"], ["worker", "--steps", "poll"], ["models", "no-such-model"],
        ["sandbox", "--port", "99999"], ["status", "\x1b[31m"], ["no-such-command"],
    ],
)  # fmt: skip
def test_bad_usage_is_exit_2_in_words_and_in_json(cli: Cli, arguments: list[str]) -> None:
    spoken = cli(*arguments)
    assert (spoken.code, spoken.stdout) == (2, "")
    assert spoken.stderr.startswith(("error: ", "x.yaml:1:1: "))
    assert "\x1b" not in spoken.stderr
    scripted = cli(*arguments, "--json")
    assert (scripted.code, scripted.stderr) == (2, "")
    assert scripted.json.get("error", {}).keys() == {"code", "message", "hint"} or scripted.json["valid"] is False


def test_a_faulty_manifest_shows_every_fault_with_its_place(cli: Cli) -> None:
    (cli.folder / "faulty.yaml").write_text(
        "version: 1\nname: faulty\njobs:\n"
        "  - {id: a, model: gpt-image-2, prompt: '[bold]x[/bold] {{ y }}', aspect_ratio: '7:5'}\n"
        "  - {id: a, model: nope, prompt: x, aspect_ratio: '1:1'}\n"
    )
    for command in (["plan", "faulty.yaml"], ["submit", "faulty.yaml", "--yes"]):
        spoken = cli(*command)
        assert (spoken.code, spoken.stdout) == (2, "")
        lines = spoken.stderr.splitlines()
        assert lines[0].startswith("faulty.yaml:4:")
        for code in ("error[unsupported-aspect-ratio]", "error[duplicate-job-id]", "error[unknown-model]"):
            assert any(code in line for line in lines)
        assert any(line.startswith("error: faulty.yaml has 3 errors") for line in lines)
        document = cli(*command, "--json")
        assert document.code == 2
        assert document.json["valid"] is False
        first = document.json["errors"][0]
        assert first.keys() == {"code", "message", "file", "line", "column", "job", "field"}


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a: [", b"jobs: &a [*a]", b"- 1", b"\x00"])
def test_unreadable_manifests(cli: Cli, content: bytes) -> None:
    (cli.folder / "odd.yaml").write_bytes(content)
    result = cli("plan", "odd.yaml", "--json")
    assert result.code == 2
    assert result.json["valid"] is False
    assert cli("submit", "missing.yaml", "--json").json["errors"][0]["code"] == "manifest-unreadable"


def test_plan_document(cli: Cli) -> None:
    result = cli("plan", cli.manifest("good", [MUG]), "--json")
    assert (result.code, result.stderr) == (0, "")
    document = result.json
    assert document.keys() >= {"valid", "name", "jobs", "estimate", "by_model", "catalog", "errors", "warnings"}
    assert document["estimate"] == {"credits": "14", "usd": "0.0728"}
    assert document["by_model"] == [
        {"model": "gpt-image-2", "type": "image", "jobs": 1, "credits": "14", "usd": "0.0728"}
    ]
    assert document["catalog"].keys() == {"source", "fetched_at", "digest"}
    spoken = cli("plan", "good.json")
    assert "1 job, 14 credits (~$0.0728)" in spoken.stdout


def test_only_the_money_is_wrong(cli: Cli) -> None:
    file = cli.manifest("dear", [MUG])
    for command in ("plan", "submit"):
        result = cli(command, file, "--max-credits", "13.9", "--json")
        assert result.code == 3
        assert [error["code"] for error in result.json["errors"]] == ["over-budget"]
    assert cli("plan", file, "--max-credits", "14").code == 0


def test_no_credentials_and_no_terminal(cli: Cli) -> None:
    file = cli.manifest("real", [MUG])
    without = cli("submit", file, "--json")
    assert without.code == 4
    assert "KATANA_API_KEY" in without.json["error"]["message"]
    assert "--sandbox" in without.json["error"]["hint"]
    refused = cli("submit", file, env=CREDENTIALS)
    assert refused.code == 3
    assert "--yes" in refused.stderr
    assert refused.stdout == ""
    assert cli("balance").code == 4


def test_settings_that_cannot_be_used_are_exit_4(cli: Cli, tmp_path: Path) -> None:
    file = cli.manifest("set", [MUG])
    for name, value in (("KATANA_BASE_URL", "http://example.com"), ("ORCHESTRATOR_MAX_IN_FLIGHT", "many")):
        result = cli("plan", file, env={name: value})
        assert result.code == 4
        assert name in result.stderr
    (tmp_path / "file").touch()
    blocked = cli("submit", file, "--sandbox", env={"ORCHESTRATOR_HOME": str(tmp_path / "file" / "home")})
    assert blocked.code == 4
    unreachable = {"ORCHESTRATOR_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:9/none"}
    result = cli("status", env=unreachable)
    assert result.code == 4
    assert "hunter2" not in result.stderr


def test_text_that_is_no_text(cli: Cli) -> None:
    for command in ("status", "jobs", "resume"):
        assert cli(command, "\udcff").code == 2
    assert cli("plan", "\udcff.yaml", "--json").json["errors"][0]["file"] == "\udcff.yaml"
    (cli.folder / ".env").write_bytes(b"KATANA_API_KEY=\xff")
    result = cli("plan", "x.yaml")
    (cli.folder / ".env").unlink()
    assert result.code == 4
    assert ".env" in result.stderr


@pytest.mark.parametrize("closing", [">&-", "2>&-", ">&- 2>&-", "</dev/null >/dev/full"])
def test_streams_that_are_closed_or_full(cli: Cli, closing: str) -> None:
    file = cli.manifest("closed", [MUG])
    command = f"{shlex.quote(sys.executable)} -m orchestrator plan {file} --json {closing}"
    result = subprocess.run(
        ["sh", "-c", command], env=cli.environment(), cwd=cli.folder, capture_output=True, text=True
    )
    assert "Traceback" not in result.stderr
    assert result.returncode == (4 if "full" in closing else 0)


def test_a_reader_that_leaves_is_no_fault(cli: Cli) -> None:
    process = cli.start("models", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0


def test_what_is_paid_for_goes_on_when_nobody_reads_any_more(cli: Cli, account: dict[str, str]) -> None:
    process = cli.start("submit", cli.manifest("unread", [MUG]), "--yes", env=account)
    for stream in (process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    assert process.wait(timeout=60) == 0
    assert cli("status", "unread", "--json").json["state"] == "completed"
