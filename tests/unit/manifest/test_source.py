"""Files that are not manifests get one clear fault."""

from pathlib import Path

import pytest

from orchestrator.base.diagnostics import Code
from orchestrator.manifest.files import MAX_BYTES
from orchestrator.manifest.findings import Findings
from orchestrator.manifest.nodes import plain
from orchestrator.manifest.source import read_source


def fault_of(path: Path) -> tuple[Code, int, int, str]:
    findings = Findings(str(path))
    assert read_source(path, findings) is None
    (error,) = findings.errors
    return error.code, error.line, error.column, error.message


@pytest.mark.parametrize(
    ("name", "content", "line", "column", "words"),
    [
        ("m.yaml", "a: é".encode("utf-16"), 1, 1, "UTF-16"),
        ("m.yaml", "a: é".encode("utf-16-le"), 1, 1, "UTF-16"),
        ("m.yaml", "a: é".encode("utf-32"), 1, 1, "UTF-32"),
        ("m.yaml", "é: 1\nb: ß".encode() + b"\xff", 2, 5, "not UTF-8"),
    ],
)
def test_unreadable(tmp_path: Path, name: str, content: bytes, line: int, column: int, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    code, *place, message = fault_of(tmp_path / name)
    assert (code, *place) == (Code.MANIFEST_UNREADABLE, line, column)
    assert words in message


def test_missing_directory_and_s3(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "none.yaml")[0] is Code.MANIFEST_UNREADABLE
    assert "directory" in fault_of(tmp_path)[3]
    assert "s3://" in fault_of(Path("s3://bucket/m.yaml"))[3]


def test_a_huge_file_is_refused_without_being_parsed(tmp_path: Path) -> None:
    with (tmp_path / "m.yaml").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "larger than 32 MiB" in fault_of(tmp_path / "m.yaml")[3]


def test_a_byte_order_mark_does_not_shift_places(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    node = read_source(tmp_path / "m.yaml", Findings("m"))
    assert node is not None
    assert (node.line, node.column, plain(node, {})) == (1, 1, {"a": 1})
