"""The same rows in each format: XPT read by pyreadstat, Parquet by pyarrow, CSV by Python's own reader."""

from __future__ import annotations

import csv
import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.exports.csv_file import marked, read_csv, unmarked, write_csv
from adapter.exports.dataset import Cell, Column, Dataset
from adapter.exports.dataset_json import Provenance, read_dataset_json
from adapter.exports.exact import exact_text
from adapter.exports.formats import files_of, write_formats
from adapter.exports.parquet import write_parquet
from tests.spec.sdtm_case import dataset
from tests.spec.test_sdtm_package import hospital

WHO = Provenance("S", "MDV.S", "Site 1", "trial-fhir-adapter", "0", datetime(2020, 7, 1, tzinfo=UTC))


def made(*rows: tuple[Cell, ...], kinds: tuple[str, ...] = ("text", "float", "integer")) -> Dataset:
    """A dataset of which only the kinds of its columns matter."""
    columns = tuple(
        Column(f"V{number}", f"Variable {number}", kind, 40 if kind == "text" else 8, number)  # type: ignore[arg-type]
        for number, kind in enumerate(kinds, start=1)
    )
    return Dataset("XX", "Made up", columns, rows)


def same_in_every_format(wanted: Dataset, folder: Path) -> None:
    """Each format against the rows in memory: the exact number where the format has it, else a double."""
    write_formats(wanted, folder, WHO)
    name = wanted.name.lower()
    frame, _ = pyreadstat.read_xport(folder / f"xpt/{name}.xpt", disable_datetime_conversion=True)
    table = pq.read_table(folder / f"parquet/{name}.parquet")
    titles, plain = read_csv(folder / f"csv/{name}.csv")
    one, other = (
        read_dataset_json(folder / f"dataset-json/{name}.{ending}") for ending in ("json", "ndjson")
    )
    variables = [column.name for column in wanted.columns]
    assert variables == list(frame.columns) == table.column_names == list(titles)
    assert one == other
    assert one.columns == wanted.columns
    assert len(wanted.rows) == len(frame) == table.num_rows == len(plain) == len(one.rows)
    stored = [column.to_pylist() for column in table.columns]
    for number, row in enumerate(wanted.rows):
        for place, (column, cell) in enumerate(zip(wanted.columns, row, strict=True)):
            read, parquet = frame[column.name][number], stored[place][number]
            text, from_json = plain[number][place], one.rows[number][place]
            if column.is_numeric and cell is None:
                assert math.isnan(read)
                assert (parquet, text, from_json) == (None, "", None)
            elif column.is_numeric:
                assert not isinstance(parquet, float)
                assert Fraction(text) == Fraction(parquet)
                assert read == float(Fraction(text)) == float(from_json) == float(cell)  # type: ignore[arg-type]
            else:
                assert read == parquet == text == from_json == (cell or "")


def test_the_rows_of_every_dataset_are_the_same_in_every_format(tmp_path: Path) -> None:
    for wanted in hospital().build().datasets:
        same_in_every_format(wanted, tmp_path)
        assert all((tmp_path / path).is_file() for path in files_of(wanted.name))


def test_a_dataset_without_rows_has_its_variables_in_every_format(tmp_path: Path) -> None:
    same_in_every_format(made(), tmp_path)


NUMBERS = st.one_of(
    st.none(), st.decimals(min_value="-1e15", max_value="1e15", places=6), st.fractions(-1000, 1000)
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(
    lambda text: text.rstrip()
)


def test_any_rows_are_the_same_in_every_format(tmp_path_factory: pytest.TempPathFactory) -> None:
    # each example writes and reads five files: on a busy machine that takes its time
    @settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.tuples(TEXTS, NUMBERS, st.integers(-(2**50), 2**50)), max_size=4))
    def check(rows: list[tuple[Cell, ...]]) -> None:
        same_in_every_format(made(*rows), tmp_path_factory.mktemp("formats"))

    check()


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, ""),
        ("<0.50", "<0.50"),
        (-14, "-14"),
        (Decimal("24.90"), "24.9"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.1"), "0.1"),
        (Decimal("12345678901234567.891"), "12345678901234567.891"),  # a double has no such number
        (Fraction(5, 2), "2.5"),
        (Fraction(1, 3), "0.3333333333333333"),  # the double nearest to a third, as Python and C print it
        (Fraction(1, 3 * 10**7), "0.000000033333333333333334"),  # 3.3333333333333334e-08 without its exponent
    ],
)
def test_numbers_as_text(cell: Cell, text: str) -> None:
    assert exact_text(cell) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("'quoted", "''quoted"),
        ("-14", "-14"),
        ("+2.5", "+2.5"),
        ("<0.5", "<0.5"),
        ("1:80", "1:80"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(text: str, shown: str) -> None:
    assert marked(text) == shown
    assert unmarked(shown) == text


def test_csv_is_rfc_4180_to_the_byte(tmp_path: Path) -> None:
    write_csv(
        made(("a,b", Decimal("2.50"), 1), ('say "x"', None, -3), ("", Fraction(1, 8), 0)), tmp_path / "x.csv"
    )
    assert (tmp_path / "x.csv").read_bytes() == (
        b'V1,V2,V3\r\n"a,b",2.5,1\r\n"say ""x""",,-3\r\n,0.125,0\r\n'
    )


def test_a_lone_empty_cell_is_still_a_row(tmp_path: Path) -> None:
    write_csv(made(("",), ("x",), kinds=("text",)), tmp_path / "x.csv")
    assert read_csv(tmp_path / "x.csv") == (("V1",), (("",), ("x",)))
    with (tmp_path / "x.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["V1"], [""], ["x"]]


def test_parquet_holds_decimals_and_says_what_each_variable_is(tmp_path: Path) -> None:
    write_parquet(made(("x", Decimal("0.1"), 7), ("y", None, 8)), tmp_path / "x.parquet")
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.types == [pa.string(), pa.decimal128(38, 18), pa.int64()]
    assert schema.metadata[b"dataset"] == b"XX"
    assert schema.field("V2").metadata == {
        b"label": b"Variable 2",
        b"type": b"float",
        b"item": b"IT.XX.V2",
        b"key": b"2",
    }
    assert pq.read_table(tmp_path / "x.parquet")["V2"].to_pylist() == [Decimal("0.1"), None]


def test_parquet_keeps_a_number_too_long_for_its_decimals_as_text(tmp_path: Path) -> None:
    long = Decimal("0.1234567890123456789012")
    write_parquet(made(("x", long, 7), ("y", None, 8)), tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.field("V2").type == pa.string()
    assert table.schema.field("V2").metadata[b"type"] == b"decimal as text"
    assert table["V2"].to_pylist() == ["0.1234567890123456789012", None]


def test_parquet_and_the_others_are_the_same_bytes_again(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_formats(dataset(hospital().build(), "LB"), tmp_path / folder, WHO)
    for path in files_of("LB"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_the_first_line_of_ndjson_describes_the_others(tmp_path: Path) -> None:
    write_formats(made(("x", Decimal("0.1"), 7), ("y", None, 8)), tmp_path, WHO)
    head, *rows = (tmp_path / "dataset-json/xx.ndjson").read_text().splitlines()
    described = json.loads(head)
    assert described["records"] == 2
    assert "rows" not in described
    assert [json.loads(row) for row in rows] == [["x", 0.1, 7], ["y", None, 8]]
