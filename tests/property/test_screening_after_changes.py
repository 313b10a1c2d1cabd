"""What is kept of former screenings never shows: a change leaves the bytes of screening everything.

Whoever becomes a candidate has most of a chart in files that were sieved for others; whoever ceases to be one
leaves lines behind in what was kept. The people, and what ties them, are those of test_screening_in_parts.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.screening.deal import deal, patients_about
from adapter.screening.parallel import units, work
from adapter.screening.parallel.parts import Record
from adapter.screening.parallel.run import screen_in_parts
from adapter.screening.parallel.underway import Cut
from adapter.screening.task import Task
from adapter.screening.whole import screen_whole
from adapter.source.landing import land_folder, open_landing
from adapter.source.ndjson import Block
from adapter.source.nominate import nominated_in
from adapter.source.ranges import Range
from adapter.trial import Workspace
from tests.property.test_screening_in_parts import (
    AS_OF,
    CHARTS,
    DRUGS,
    NOW,
    PACKED,
    PEOPLE,
    TRIAL,
    TRIED,
    Row,
    extras,
    left,
)
from tests.property.test_sieve import IDS, dice_of, resources
from tests.property.test_sieve import written as adversarial

PLAIN = [name for name in IDS if "_" not in name]
QUERY = candidate_query(TRIAL.terminology, TRIAL.protocol.candidates, TRIAL.protocol.id)


def written(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def nominates(line: bytes) -> bool:
    found = nominated_in([("x", Block(line + b"\n", 1))], QUERY, frozenset())
    return bool(found.ids or found.identifiers)


class Export:
    """A folder of files; what nominates a person stands in a file of its own, which comes and goes."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.as_of = AS_OF
        self.files: dict[str, list[bytes]] = {"drugs": [written(row) for row in DRUGS]}
        self.signs: dict[str, list[bytes]] = {}
        self.away: dict[str, list[bytes]] = {}
        self.endings: dict[str, str] = {}
        rest: list[bytes] = []
        for name, chart in zip(PEOPLE, CHARTS, strict=True):
            lines = [written(row) for row in chart]
            self.signs[name] = [line for line in lines if nominates(line)]
            plain = [line for line in lines if not nominates(line)]
            if dice.random() < 0.8:
                rest += plain
            else:
                self.away[name] = plain
            if dice.random() < 0.5 and name not in self.away:
                self.files[f"signs-{name}"] = self.signs[name]
        dice.shuffle(rest)
        for number in range(3):
            self.files[f"rest-{number}"] = rest[number::3]

    def land(self, folder: Path, workspace: Workspace) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, lines in self.files.items():
            ending = self.endings.setdefault(name, self.dice.choice(["", "", "", ".gz", ".zst"]))
            (folder / f"{name}.ndjson{ending}").write_bytes(PACKED[ending](b"\n".join([*lines, b""])))
        land_folder(folder, workspace.landing, now=NOW)

    def change(self, name: str) -> None:
        getattr(self, name)()

    def nominate(self) -> None:
        name = self.dice.choice(PEOPLE)
        self.files[f"signs-{name}"] = self.signs[name]

    def withdraw(self) -> None:
        """The only lines that nominate somebody are gone; all others of theirs stay."""
        signs = [name for name in self.files if name.startswith("signs-")]
        if signs:
            del self.files[self.dice.choice(signs)]

    def arrive(self) -> None:
        if self.away:
            name, lines = self.away.popitem()
            self.files[f"new-{name}"] = lines + self.signs[name]

    def result(self) -> None:
        """A result, or another version of one, in a file of its own."""
        lines = [line for file in self.files.values() for line in file if b'"Observation"' in line[:40]]
        row = json.loads(self.dice.choice(lines))
        row["id"] = self.dice.choice([row["id"], "another"])
        row["meta"] = {"versionId": str(self.dice.randint(2, 9))}
        row["status"] = self.dice.choice(["corrected", "final", "entered-in-error"])
        if self.dice.random() < 0.2:
            row["subject"] = {"reference": f"Patient/{self.dice.choice(PEOPLE)}"}
        self.files[f"result-{len(self.files)}"] = [written(row)]

    def delete(self) -> None:
        file = self.files[self.dice.choice(sorted(self.files))]
        if len(file) > 1:
            file.pop(self.dice.randrange(len(file)))

    def tie(self) -> None:
        name = self.dice.choice(TRIED)
        self.files[f"tie-{len(self.files)}"] = extras(*self.dice.sample(PEOPLE, 4))[name]

    def day(self) -> None:
        self.as_of += timedelta(days=self.dice.randint(-40, 40))


CHANGES = ("nominate", "nominate", "withdraw", "arrive", "result", "delete", "tie", "tie", "day")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(CHANGES), min_size=1, max_size=8),
    st.builds(
        Cut,
        range=st.sampled_from([2_000, 20_000, 10**7]),
        batch=st.sampled_from([1, 3_000, 10**7]),
        slots=st.sampled_from([0, 8, 256]),
    ),
)
def test_any_change_leaves_the_bytes_of_screening_everything(
    dice: random.Random, changes: list[str], cut: Cut
) -> None:
    with TemporaryDirectory() as name:
        whole, parts = Workspace(Path(name) / "whole"), Workspace(Path(name) / "parts")
        export = Export(dice)
        for change in ("", *changes):
            if change:
                export.change(change)
            if change and dice.random() < 0.4:
                continue
            export.land(Path(name) / "export", parts)
            shutil.rmtree(whole.landing, ignore_errors=True)
            shutil.copytree(parts.landing, whole.landing)
            screen_whole(Task(TRIAL, whole, export.as_of, True), open_landing(whole.landing), lambda _: None)
            task = Task(TRIAL, parts, export.as_of)
            screen_in_parts(task, open_landing(parts.landing), lambda _: None, workers=1, cut=cut)
            assert left(whole.screening) == left(parts.screening)


@settings(max_examples=400, deadline=None)
@given(resources(), st.integers(0, 2**32), st.frozensets(st.sampled_from(PLAIN)))
def test_a_line_is_dealt_alike_for_candidates_it_is_not_about(
    made: Row, seed: int, candidates: frozenset[str]
) -> None:
    """Lines of the sieve's own test, by an adversarial writer of JSON; some cut short."""
    dice = dice_of(seed)
    line = adversarial(made, dice).encode()
    line = line[: dice.randrange(len(line))] if dice.random() < 0.2 else line
    others = frozenset(PLAIN) - {one.decode() for one in patients_about(line)}
    assert deal(line, "x:1", candidates ^ others) == deal(line, "x:1", candidates)


def test_of_old_files_only_what_names_a_new_candidate_is_dealt_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three people fills a file. The second becomes a candidate, whose lines are dealt beside what is
    there, and ceases to be one; then only the second is, and the file of the first is dealt anew."""
    dealt: list[str] = []
    anew, deal_some = work.dealt, work._deal

    def dealt_anew(piece: Range, *rest: Any) -> work.Left:
        dealt.append("all of " + piece.file.name.removesuffix(".ndjson"))
        return anew(piece, *rest)

    def some(piece: Range, *rest: Any) -> None:
        dealt.append(piece.file.name.removesuffix(".ndjson"))
        deal_some(piece, *rest)

    monkeypatch.setattr(work, "dealt", dealt_anew)
    monkeypatch.setattr(work, "_deal", some)
    workspace = Workspace(tmp_path / "workspace")
    folder = tmp_path / "export"

    def screened(*people: int) -> list[str]:
        """What is dealt, with what nominates these people; all charts are there from the beginning."""
        dealt.clear()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for number in (0, 1, 2):
            lines = [written(row) for row in CHARTS[number]]
            signs = [line for line in lines if nominates(line)]
            rest = [line for line in lines if not nominates(line)]
            (folder / f"chart-{number}.ndjson").write_bytes(b"\n".join([*rest, b""]))
            if number in people:
                (folder / f"signs-{number}.ndjson").write_bytes(b"\n".join([*signs, b""]))
        land_folder(folder, workspace.landing, now=NOW)
        task = Task(TRIAL, workspace, AS_OF)
        screen_in_parts(task, open_landing(workspace.landing), lambda _: None, workers=1)
        return sorted(dealt)

    every = ["chart-0", "chart-1", "chart-2", "signs-0"]
    assert screened(0) == sorted([*every, *(f"all of {name}" for name in every)])
    assert screened(0) == []
    assert screened(0, 1) == ["all of signs-1", "chart-1", "signs-1"]
    assert screened(0, 1) == []
    assert screened(0) == []
    assert screened(1) == ["all of chart-0", "all of signs-1", "chart-0", "chart-1", "signs-1"]
    assert screened(1) == []


def test_where_nothing_changed_no_kept_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what an older program left in another form is as if it were not there."""
    dice = random.Random(5)  # noqa: S311 - data, no secret
    export, workspace = Export(dice), Workspace(tmp_path / "workspace")
    export.land(tmp_path / "export", workspace)
    read: list[Path] = []
    real = units.records_in

    def reading(path: Path, slots: Sequence[int]) -> Iterator[Record]:
        read.append(path)
        return real(path, slots)

    monkeypatch.setattr(units, "records_in", reading)

    def screened() -> dict[Path, int]:
        read.clear()
        cut = Cut(range=20_000, batch=20_000)
        landing = open_landing(workspace.landing)
        screen_in_parts(Task(TRIAL, workspace, AS_OF), landing, lambda _: None, workers=1, cut=cut)
        files = (workspace.root / ".screening-work").glob("judged-*.rows")
        return {path: path.stat().st_ino for path in files}

    first = screened()
    assert read
    expected = left(workspace.screening)
    assert screened() == first
    assert not read
    for path in first:
        path.write_bytes(b"\x90" + (0).to_bytes(8, "little"))
    assert screened() != first
    assert read
    assert left(workspace.screening) == expected
