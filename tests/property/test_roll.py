"""The roll of a range leads to the lines that sieving the range keeps, for candidates of any later day."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.screening.parallel.roll import RollWriter, account_of, lines_for
from adapter.source.landing import land_folder
from adapter.source.ndjson import BOM, Block
from adapter.source.patients import Candidates
from adapter.source.ranges import Range, blocks_of, lines_at, ranges_of
from adapter.source.sieve import sieve
from tests.property.test_sieve import IDS, dice_of, resources, written

NOW = datetime(2019, 6, 3, tzinfo=UTC)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n", b" \n"])


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(resources(), ENDS), min_size=1, max_size=25),
    st.integers(0, 2**32),
    st.booleans(),
    st.booleans(),
    st.integers(50, 3000),
    st.sets(st.sampled_from(IDS)),
)
def test_a_roll_leads_to_what_the_sieve_keeps(
    made: list[tuple[dict[str, object], bytes]],
    seed: int,
    marked: bool,
    packed: bool,
    size: int,
    wanted: set[str],
) -> None:
    dice = dice_of(seed)
    data = BOM * marked + b"".join(written(resource, dice).encode() + end for resource, end in made)
    with TemporaryDirectory() as name:
        export, landing = Path(name) / "export", Path(name) / "landing"
        export.mkdir()
        (export / f"all.ndjson{'.gz' * packed}").write_bytes(gzip.compress(data) if packed else data)
        for piece in ranges_of(land_folder(export, landing, now=NOW), size):
            sieved = [
                (block.first_line + position, line)
                for block in blocks_of(piece)
                for position, line in sieve(block.data, frozenset(wanted))
            ]
            roll = Path(name) / "roll"
            with RollWriter(roll, count_patients=False) as writer:
                lines = sum(block.data.count(b"\n") for _, block in writer.passing(_named(piece)))
            found = list(lines_for(roll, Candidates(wanted)))
            texts = lines_at(piece, [(one.start, one.size) for one in found])
            assert [(one.number, text.strip()) for one, text in zip(found, texts, strict=True)] == sieved
            assert account_of(roll).lines == lines


def _named(piece: Range) -> Iterator[tuple[str, Block]]:
    return ((piece.file.name, block) for block in blocks_of(piece))


def test_a_roll_that_was_not_finished_is_none(tmp_path: Path) -> None:
    roll = tmp_path / "roll"
    with pytest.raises(KeyError), RollWriter(roll, count_patients=True):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_patients_are_counted_where_others_stand_between_them(tmp_path: Path) -> None:
    rows = [{"resourceType": kind, "id": "1"} for kind in ("Patient", "Observation", "Patient", "Medication")]
    text = "\n".join(json.dumps(row) for row in rows) + "\n{\n"  # the last cannot be read: it may be one
    (tmp_path / "all.ndjson").write_text(text)
    (piece,) = ranges_of(land_folder(tmp_path, tmp_path / "landing", now=NOW), 10**6)
    with RollWriter(tmp_path / "roll", count_patients=True) as writer:
        assert len(list(writer.passing(_named(piece)))) == 1
    assert account_of(tmp_path / "roll").patients == 3
