"""Many rows need no more memory than some, and keep the order and the exact cells they had."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.exports.dataset import Cell, Column, Dataset, Row, sorted_rows
from adapter.exports.formats import files_of, write_formats
from adapter.exports.runs import SortedRows, StoredRows
from benchmarks import formats

COLUMNS = (
    Column("STUDYID", "Study Identifier", "text", 8, 1),
    Column("USUBJID", "Unique Subject Identifier", "text", 8, 2),
    Column("LBSEQ", "Sequence Number", "integer", 8, 3),
    Column("LBSTRESN", "Numeric Result", "float"),
    Column("LBSTRESC", "Character Result", "text", 20),
)
cells = st.tuples(
    st.just("S"),
    st.sampled_from(["A", "B", "C"]),
    st.integers(1, 9),
    st.none() | st.integers(-5, 5) | st.fractions() | st.decimals(allow_nan=False, allow_infinity=False),
    st.none() | st.text("ab<", max_size=3),
)


@given(st.lists(st.lists(cells, max_size=6), max_size=8), st.integers(1, 12))
@settings(deadline=None)
def test_rows_on_disk_are_the_rows_in_memory(parts: list[list[Row]], held: int) -> None:
    kept = SortedRows(COLUMNS, held)
    for part in parts:
        kept.add(part)
    rows = kept.finished()
    expected = sorted_rows(COLUMNS, [row for part in parts for row in part])
    assert tuple(rows) == expected
    assert [type(cell) for row in rows for cell in row] == [type(cell) for row in expected for cell in row]
    assert len(rows) == len(expected)
    assert [rows[index] for index in range(len(rows))] == list(expected)
    assert tuple(rows[1:]) == expected[1:]


def test_two_may_read_at_once() -> None:
    rows = formats.dataset(20_000, held=1000).rows
    assert isinstance(rows, StoredRows)
    for number, (left, right) in enumerate(zip(rows, rows, strict=True)):
        assert left == right == rows[number]


def test_the_files_are_the_same_bytes_wherever_the_rows_lie(tmp_path: Path) -> None:
    for name, held in (("memory", 10_000), ("disk", 700)):
        write_formats(formats.dataset(5_000, held), tmp_path / name, formats.WHO)
    for path in files_of("LB"):
        assert (tmp_path / "memory" / path).read_bytes() == (tmp_path / "disk" / path).read_bytes()


def test_an_exact_third_survives_the_disk() -> None:
    third: Cell = Fraction(1, 3)
    kept = SortedRows(COLUMNS, 0)
    kept.add([("S", "A", 1, third, "x")])
    assert isinstance(kept.finished(), StoredRows)
    assert Dataset("LB", "L", COLUMNS, kept.finished()).records()[0]["LBSTRESN"] == third


def rows_of(name: str) -> int:
    """Parquet gathers row groups of 65,536, so that a smaller file has not reached its most yet."""
    return 70_000 if name == "Parquet" else 20_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is told by Linux")
@pytest.mark.parametrize("name", [*formats.OURS, *formats.ODM])
def test_twice_the_rows_need_the_same_memory(name: str) -> None:
    """Each writer in a process of its own. A row that is held takes 1000 bytes or more (below); pages and
    pools vary by 12 MB, and by more where row groups are gathered, but not by 300 bytes a row."""
    rows = rows_of(name)
    once, twice = (formats.apart(name, rows * times, held=4000)["peak"] for times in (1, 2))
    assert twice - once < max(12e6, 300 * rows)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is told by Linux")
def test_rows_held_in_memory_would_be_seen() -> None:
    """The same measurement of rows that are all held: 1000 bytes or more for each."""
    once, twice = (formats.apart("XPT", rows, held=10**9)["peak"] for rows in (20_000, 40_000))
    assert twice - once > 20e6
