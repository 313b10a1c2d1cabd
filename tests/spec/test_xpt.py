"""The transport writer against SAS's own bytes, two independent readers, and IBM's arithmetic."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pandas
import pyreadstat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.errors import ExportError
from adapter.exports.dataset import Cell, Column, Dataset
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.xpt import ibm_float, ieee_float, read_xpt, write_xpt

STAMP = datetime(2020, 8, 21, 9, 14, 25, tzinfo=UTC)
EXAMPLES = Path(__file__).resolve().parents[3] / "shared/data/cdisc/examples/dataset-json-1.1"
needs_examples = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="the CDISC Dataset-JSON examples are not beside this checkout"
)


def one_column(*cells: Cell, kind: str = "float", length: int = 8) -> Dataset:
    column = Column("VALUE", "Value", kind, length)  # type: ignore[arg-type]
    key = Column("USUBJID", "Unique Subject Identifier", "text", 12)
    return Dataset("LB", "Laboratory", (key, column), tuple((f"S{i}", cell) for i, cell in enumerate(cells)))


# IBM System/360 long format, worked by hand: sign and excess-64 power of 16, then 14 hexadecimal digits.
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0.0, "0000000000000000"),
        (1.0, "4110000000000000"),  # 0.1 (hex) x 16^1
        (-1.0, "C110000000000000"),
        (16.0, "4210000000000000"),
        (0.5, "4080000000000000"),  # 0.8 (hex) x 16^0
        (-118.625, "C276A00000000000"),  # the textbook example: 76.A in hexadecimal
        (0.1, "40199999999999" + "9A"),  # double 0.1 = 0x1.999999999999ap-4, all 53 bits kept
        (24.9, "4218E66666666666"),
    ],
)
def test_numbers_worked_by_hand(number: float, expected: str) -> None:
    assert ibm_float(number).hex().upper() == expected


@given(st.floats(min_value=-7.2e75, max_value=7.2e75).filter(lambda x: x == 0 or abs(x) > 6e-79))
def test_every_double_in_range_survives(number: float) -> None:
    assert ieee_float(ibm_float(number)) == number


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, 7.3e75, 1e-80])
def test_numbers_the_format_has_no_place_for_are_refused(number: float) -> None:
    with pytest.raises(ExportError):
        ibm_float(number)


def test_both_readers_return_the_nearest_double(tmp_path: Path) -> None:
    numbers: list[Cell] = [
        Decimal("24.9"), Fraction(1, 3), 7, Decimal("8.000000000000000001"), Decimal("-0.15"), None,
        Decimal("0.1"), Decimal("99999999.999999"), Fraction(8842, 100) * Fraction(13, 10),
    ]  # fmt: skip
    path = tmp_path / "lb.xpt"
    write_xpt(one_column(*numbers), path, created=STAMP)
    expected = [None if number is None else float(number) for number in numbers]
    for frame in (pyreadstat.read_xport(path)[0], pandas.read_sas(path, format="xport", encoding="ascii")):
        assert [None if math.isnan(value) else value for value in frame["VALUE"]] == expected


def test_text_keeps_its_characters_and_blanks_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "lb.xpt"
    write_xpt(one_column("<0.15", "", None, ">=300", "a" * 20, kind="text", length=20), path, created=STAMP)
    frame, meta = pyreadstat.read_xport(path)
    assert list(frame["VALUE"]) == ["<0.15", "", "", ">=300", "a" * 20]
    assert meta.column_labels == ["Unique Subject Identifier", "Value"]
    assert meta.table_name == "LB"


def test_header_carries_the_passed_time_and_nothing_of_the_clock(tmp_path: Path) -> None:
    first, second = tmp_path / "1.xpt", tmp_path / "2.xpt"
    write_xpt(one_column(Decimal("1.5")), first, created=STAMP)
    write_xpt(one_column(Decimal("1.5")), second, created=STAMP)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[144:160] == b"21AUG20:09:14:25"
    assert len(first.read_bytes()) % 80 == 0


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (one_column("x" * 9, kind="text", length=8), "9 bytes in a variable of length 8"),
        (one_column("≥3", kind="text"), "not printable ASCII"),
        (one_column("a\nb", kind="text"), "not printable ASCII"),
        (one_column("2020-13-45", kind="date", length=19), "ISO 8601"),
        (one_column("12"), "text in a numeric variable"),
        (one_column(Decimal("1.5"), kind="integer"), "a fraction in an integer variable"),
        (one_column("a", kind="text", length=201), "1 to 200"),
        (Dataset("LABORATORY", "x", (), ()), "dataset name"),
        (Dataset("LB", "x", (Column("LBSTRESNX", "y", "text", 8),), ()), "variable name"),
        (Dataset("LB", "x", (Column("LBX", "y" * 41, "text", 8),), ()), "label"),
        (Dataset("LB", "x", (Column("LBX", "y", "text", 8),), (("a", "b"),)), "2 cells for 1"),
    ],
)
def test_nothing_is_cut_or_folded(dataset: Dataset, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        write_xpt(dataset, tmp_path / "x.xpt", created=STAMP)
    assert not (tmp_path / "x.xpt").exists()


def test_a_dataset_without_rows_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "ie.xpt"
    write_xpt(one_column(), path, created=STAMP)
    frame, _ = pyreadstat.read_xport(path)
    assert list(frame.columns) == ["USUBJID", "VALUE"]
    assert len(frame) == 0
    assert read_xpt(path).rows == ()


@needs_examples
@pytest.mark.parametrize(
    "name", ["dm", "ds", "ie", "relrec", "se", "suppdm", "sv", "ta", "te", "ti", "ts", "tv"]
)
def test_official_examples_are_reproduced_byte_for_byte(name: str, tmp_path: Path) -> None:
    """From the official Dataset-JSON to the bytes SAS 9.4 wrote; only lengths and the stamp are borrowed."""
    official = EXAMPLES / f"sdtm_{name}.xpt"
    declared = read_xpt(official)
    source = read_dataset_json(EXAMPLES / f"sdtm_{name}.json")
    columns = tuple(
        Column(column.name, column.label, column.kind, sas.length, column.key)
        for column, sas in zip(source.columns, declared.columns, strict=True)
    )
    theirs = official.read_bytes()
    created = datetime.strptime(theirs[144:160].decode(), "%d%b%y:%H:%M:%S").replace(tzinfo=UTC)
    ours = tmp_path / f"{name}.xpt"
    dataset = Dataset(source.name, source.label, columns, source.rows)
    write_xpt(dataset, ours, created=created, system="X64_10PR")
    expected, _ = pyreadstat.read_xport(official)
    written, _ = pyreadstat.read_xport(ours)
    pandas.testing.assert_frame_equal(written, expected)
    assert ours.read_bytes() == theirs


@needs_examples
def test_reader_agrees_with_pyreadstat_on_the_largest_example() -> None:
    official = EXAMPLES / "adam_adsl.xpt"
    frame, _ = pyreadstat.read_xport(official, disable_datetime_conversion=True)
    read = read_xpt(official)
    assert [column.name for column in read.columns] == list(frame.columns)
    for ours, theirs in zip(read.rows, frame.itertuples(index=False), strict=True):
        for left, right in zip(ours, theirs, strict=True):
            missing = left is None and (right is None or math.isnan(right))
            assert missing or left == right


def test_namestr_is_140_bytes_as_ts_140_says() -> None:
    assert struct.calcsize(">hhhh8s40s8shhh2s8shhi52x") == 140
