"""CSV as people have it, and as hypothesis makes it."""

import csv
from contextlib import suppress
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.manifest.csv_reader import CsvFault, Table, cell_places
from orchestrator.manifest.files import SourceFault
from orchestrator.manifest.line_breaks import normalize
from orchestrator.manifest.table_text import decode_table


def rows_of(text: str) -> list[tuple[int, int, list[str], str | None]]:
    table = Table(text)
    records = list(table.records())
    assert [table.record(record.number) for record in records] == records
    return [(row.number, row.line, list(table.by_name(row).values()), row.fault) for row in records]


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "a;b\r\n1;2\r\n",
        "a\tb\r1\t2",
        "a|b\n1|2",
        "sep=;\na;b\n1;2",
        '"a",b\n1, "2"',
        "\n a , b\n1,2,,\n",
        'a;"b,c,d"\n1;2',
        ";a;b\n;1;2",
    ],
)
def test_separators_line_ends_and_spaces(text: str) -> None:
    ((_, _, cells, fault),) = rows_of(text)
    assert (cells, fault) == (["1", "2"], None)


def test_rows_are_numbered_as_spreadsheets_do_and_have_the_line_they_begin_on() -> None:
    text = 'a,b\n"x\ny",1\n\n,\n3\n4,5,6\n"7"x,8\n9,10\n'
    assert rows_of(text) == [
        (2, 2, ["x\ny", "1"], None),
        (5, 6, ["3"], "has 1 cells, but the header names 2 columns"),
        (6, 7, ["4", "5"], "has 3 cells, but the header names 2 columns"),
        (7, 8, [], 'has text after a closing quote; write a quote inside a cell twice (`""`)'),
        (8, 9, ["9", "10"], None),
    ]


@pytest.mark.parametrize(
    ("text", "words", "line"),
    [
        ("", "is empty", 1),
        ("\n , \n", "is empty", 1),
        ("a,b,a\n", "column `a` twice (again as column 3)", 1),
        ("a,\n1,2\n", "no name for column 2, which row 2 uses", 2),
        ('a,b\n1,2\n3,"4\n5,6\n', "the quotes that open in row 3", 3),
        ('"a"x,b\n', "closing quote", 1),
    ],
)
def test_files_that_cannot_be_used(text: str, words: str, line: int) -> None:
    with pytest.raises(CsvFault) as caught:
        list(Table(text).records())
    assert words in caught.value.message
    assert caught.value.line == line


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(
    st.lists(st.tuples(CELLS, CELLS), max_size=6), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"])
)
def test_what_is_written_is_read_back(rows: list[tuple[str, str]], separator: str, line_end: str) -> None:
    file = StringIO(newline="")
    writer = csv.writer(file, delimiter=separator, lineterminator=line_end, quoting=csv.QUOTE_ALL)
    writer.writerows([("one", "two"), *rows])
    found = [cells for _, _, cells, _ in rows_of(file.getvalue())]
    assert found == [[normalize(cell) for cell in row] for row in rows if any(cell.strip() for cell in row)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_how_a_file_was_saved_makes_no_other_cell(line_end: str) -> None:
    assert rows_of(f'a,b{line_end}"one{line_end}two",3{line_end}') == [(2, 2, ["one\ntwo", "3"], None)]


@given(st.lists(st.text(st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_the_places_of_cells(cells: list[str]) -> None:
    file = StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="").writerow(cells)
    raw = file.getvalue()
    for cell, place in zip(cells, cell_places(cells, raw), strict=True):
        assert raw[place - 1 :].startswith('"' + cell.replace('"', '""') + '"')


@given(st.binary(max_size=40))
def test_any_bytes_are_rows_or_a_fault(data: bytes) -> None:
    with suppress(SourceFault, CsvFault):
        table = Table(decode_table(data).text)
        assert all(row.fault or table.by_name(row).keys() == table.columns.keys() for row in table.records())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_that_can_be_told(encoding: str) -> None:
    decoded = decode_table("sku;name\r\n1;Tasse für Café ☕\r\n".encode(encoding))
    assert decoded.text == "sku;name\r\n1;Tasse für Café ☕\r\n"
    assert decoded.guessed is None


def test_windows_1252_is_guessed_and_said() -> None:
    decoded = decode_table("sku;name\r\n1;Café – “big” €\r\n".encode("cp1252"))
    assert (decoded.text, decoded.guessed) == ("sku;name\r\n1;Café – “big” €\r\n", "Windows-1252")


def test_a_bad_byte_among_utf_8_is_a_fault_of_its_row_alone() -> None:
    decoded = decode_table("a,b\né,1\n".encode() + b"caf\xe9,2\nx,3\n")
    assert decoded.guessed is None
    assert [row[3] for row in rows_of(decoded.text)] == [None, "is not UTF-8 (byte 0xe9)", None]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04\x14\x00", "Excel workbook"),
        (b"a\n\x81\n", "neither UTF-8 nor Windows-1252 (byte 0x81 in line 2)"),
        (b"\xff\xfea", "not whole UTF-16"),
    ],
)
def test_encodings_that_cannot_be_told(data: bytes, words: str) -> None:
    with pytest.raises(SourceFault) as caught:
        decode_table(data)
    assert words in caught.value.message
