"""However a screening is cut, and in whatever order its steps end, it leaves the bytes of one run over all.

The people are a few of the synthetic hospital's. Beside their charts stands what ties people together or
belongs to nobody: merged records, a result that a newer version moves to another patient, a report that lists
another's result, another's specimen, subjects and medications named by an identifier that one or two bear,
Medications that many use, copies and versions of what nobody maps, lines cut short with and without an owner.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter import screening
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.screening.parallel.pool import Pool
from adapter.screening.parallel.run import screen_in_parts
from adapter.screening.parallel.underway import Cut
from adapter.screening.task import Task
from adapter.screening.whole import screen_whole
from adapter.source.landing import land_folder, open_landing
from adapter.trial import Workspace, open_trial

TRIAL = open_trial()
AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")
Row = dict[str, Any]


def charts() -> Iterator[list[Row]]:
    found = (chart for chart, truth in everyone(20190603, PLANTED) if truth)
    for chart in islice(found, 0, None, PLANTED // 7):
        yield [msgspec.json.decode(ENCODER.encode(row)) for row in (*chart.rows, *chart.late)]


CHARTS = list(islice(charts(), 7))
PEOPLE = [next(str(row["id"]) for row in chart if row["resourceType"] == "Patient") for chart in CHARTS]
DRUGS: list[Row] = [msgspec.json.decode(ENCODER.encode(one)) for one in formulary()]


def of(patient: str) -> Row:
    return {"reference": f"Patient/{patient}"}


def by(value: str) -> Row:
    return {"identifier": {"system": "urn:x", "value": value}}


def reading(name: str, subject: Row, version: int = 1, **more: Any) -> Row:
    return {
        "resourceType": "Observation",
        "id": name,
        "meta": {"versionId": str(version)},
        "status": "final",
        "category": [{"coding": [{"code": "laboratory"}]}],
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}], "text": "albumin"},
        "subject": subject,
        "effectiveDateTime": "2019-05-30T08:00:00+08:00",
        "valueQuantity": {"value": 20 + version, "unit": "g/L", "code": "g/L"},
    } | more


def order(name: str, subject: Row, drug: Row) -> Row:
    return {
        "resourceType": "MedicationRequest",
        "id": name,
        "status": "active",
        "intent": "order",
        "subject": subject,
        "authoredOn": "2019-05-01",
        "medicationReference": drug,
    }


def extras(one: str, two: str, three: str, four: str) -> dict[str, list[bytes]]:
    """What ties these people, or belongs to nobody; lines by the name of what they try."""

    def lines(*rows: Row) -> list[bytes]:
        return [json.dumps(row, ensure_ascii=False).encode() for row in rows]

    drug = {"resourceType": "Medication", "id": "m1", "identifier": [{"system": "urn:x", "value": "tac"}]}
    tacrolimus = {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AD02"}], "text": "tacrolimus"}
    specimen = {
        "resourceType": "Specimen",
        "id": "s1",
        "subject": of(two),
        "accessionIdentifier": {"value": "a"},
    }
    strangers = [specimen | {"id": f"s{n}", "subject": of("stranger")} for n in (2, 3)]
    organization = {"resourceType": "Organization", "id": "o", "meta": {"versionId": "1"}}
    return {
        "merge": lines(
            {"resourceType": "Patient", "id": one, "link": [{"type": "replaced-by", "other": of(two)}]}
        ),
        "seealso": lines(
            {"resourceType": "Patient", "id": three, "link": [{"type": "seealso", "other": of(four)}]}
        ),
        "moved": lines(reading("moved", of(one)), reading("moved", of(two), 2)),
        "moved from nobody": lines(reading("nobodys", {}), reading("nobodys", of(three), 2)),
        "listed by another": lines(
            reading("listed", of(one)),
            {
                "resourceType": "DiagnosticReport",
                "id": "r1",
                "status": "final",
                "code": {"text": "x"},
                "subject": of(three),
                "result": [{"reference": "Observation/listed"}],
            },
        ),
        "another's specimen": lines(
            specimen,
            reading("sampled", of(one), specimen={"reference": "Specimen/s1"}),
            reading("sampled by number", of(three), specimen={"identifier": {"value": "a"}}),
        ),
        "a stranger's specimen": lines(
            strangers[0] | {"identifier": [{"system": "urn:x", "value": "b"}]},
            strangers[0] | {"meta": {"versionId": "2"}, "subject": of("another stranger")},
            strangers[1],
            reading("taken", of(one), specimen={"reference": "Specimen/s2/_history/1"}),
            reading("taken by number", of(three), specimen=by("b")),
            reading("taken, said inside", of(four), component=[{"specimen": {"reference": "urn:uuid:s3"}}]),
        ),
        "a specimen nobody owns": lines(
            {"resourceType": "Specimen", "id": "s4", "meta": {"versionId": "1"}},
            strangers[0] | {"id": "s4", "meta": {"versionId": "2"}},
            reading("whose", of(two), specimen={"reference": "Specimen/s4"}),
        ),
        "a stranger's identifier": lines(
            {"resourceType": "Patient", "id": one, "identifier": [{"system": "urn:x", "value": "9"}]},
            {"resourceType": "Patient", "id": "stranger", "identifier": [{"system": "urn:x", "value": "9"}]},
            {"resourceType": "Patient", "id": "stranger", "meta": {"versionId": "3"}},
            reading("whose", by("9")),
            reading("about whom", of(one), focus=[{"reference": "Patient?identifier=urn:x|9"}]),
        ),
        "named by identifier": lines(
            {"resourceType": "Patient", "id": one, "identifier": [{"system": "urn:x", "value": "7"}]},
            reading("logical", by("7")),
            reading("conditional", {"reference": "Patient?identifier=urn:x|7"}),
        ),
        "identifier of two": lines(
            {"resourceType": "Patient", "id": one, "identifier": [{"system": "urn:x", "value": "8"}]},
            {"resourceType": "Patient", "id": four, "identifier": [{"system": "urn:x", "value": "8"}]},
            reading("ambiguous", by("8")),
            reading("focus", of(one), focus=[by("8")]),
        ),
        "lent": lines(
            drug | {"meta": {"versionId": "1"}, "code": {"text": "water"}},
            drug | {"meta": {"versionId": "2"}, "code": tacrolimus},
            order("by id", of(one), {"reference": "https://h.example/Medication/m1/_history/2"}),
            order("by number", of(two), by("tac")),
            order("by urn", of(three), {"reference": "urn:uuid:m1"}),
        ),
        "lent by two": lines(
            drug | {"code": tacrolimus},
            drug | {"id": "m2", "code": {"text": "water"}},
            order("of whom", of(two), by("tac")),
            order("with an escape", of(four), {"reference": "Medication\\/m2"}),
        ),
        "ingredient": lines(
            drug | {"ingredient": [{"itemReference": {"reference": "Medication/m2"}}]},
            drug | {"id": "m2", "identifier": [], "code": tacrolimus},
            order("mixed", of(three), {"reference": "Medication/m1"}),
        ),
        "study": lines(
            {
                "resourceType": "ResearchStudy",
                "id": "st",
                "identifier": [{"value": TRIAL.protocol.id}],
                "status": "active",
            },
            *(
                {
                    "resourceType": "ResearchSubject",
                    "id": f"on {who}",
                    "status": "on-study",
                    "period": {"start": "2019-01-01"},
                    "study": {"reference": "ResearchStudy/st"},
                    "individual": of(who),
                }
                for who in (one, four)
            ),
        ),
        "nobody maps": lines(
            organization,
            organization,
            organization | {"meta": {"versionId": "2"}},
            {"resourceType": "Bundle"},
        ),
        "no id": lines({k: v for k, v in reading("", of(one)).items() if k != "id"}, {"resourceType": "Odd"}),
        "about two": lines(
            {"resourceType": "Observation", "id": "two", "subject": of(two), "focus": [of(one)], "meta": 3}
        ),
        "cut short": [
            b'{"resourceType":"Observation","id":"x","subject":{"reference":"Patient/%s' % one.encode()
        ],
        "cut short and nobody's": [b'{"resourceType":"Condition","id":"x","code":{"coding":[{'],
        "modified and nobody's": lines(
            {"resourceType": "Procedure", "id": "p", "modifierExtension": [{"url": "urn:x"}]}
        ),
        "another modified": lines(
            reading("not", of(two), modifierExtension=[{"url": "urn:x"}], focus=[of(four)])
        ),
        "twice the key": [
            b'{"resourceType":"Encounter","id":"e","id":"f","subject":{"reference":"Patient/q"}}'
        ],
        "of a stranger": lines(
            *(
                reading(f"s{n}", of("stranger"), n, note=[{"authorReference": of(w)}])
                for n, w in ((1, one), (2, two))
            )
        ),
        "a contained person": lines(
            reading("c", of(one), contained=[reading("inner", by("8"))], hasMember=[{"reference": "#inner"}])
        ),
    }


TRIED = tuple(extras("a", "b", "c", "d"))


def world(people: int, tried: Sequence[str], dice: random.Random) -> list[bytes]:
    chosen = dice.sample(range(len(CHARTS)), people)
    rows = [*DRUGS, *(row for number in chosen for row in CHARTS[number])]
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    names = [PEOPLE[number] for number in chosen]
    who = dice.sample(names, 4) if people >= 4 else dice.choices(names, k=4)
    found = extras(*who)
    lines += [line for name in tried for line in found[name]]
    dice.shuffle(lines)
    return lines


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
}


def land(folder: Path, workspace: Workspace, lines: list[bytes], files: int, dice: random.Random) -> None:
    folder.mkdir()
    for number in range(files):
        ending = dice.choice(["", "", ".gz", ".zst"])
        data = b"\n".join(lines[number::files]) + b"\n"
        (folder / f"{number}.ndjson{ending}").write_bytes(PACKED[ending](data))
    land_folder(folder, workspace.landing, now=NOW)


def left(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def shuffled(dice: random.Random) -> Callable[..., Iterator[tuple[int, object]]]:
    """A pool whose steps end in any order."""

    def each(self: Pool, step: Callable[..., object], arguments: Sequence[tuple[Any, ...]], _: float) -> Any:
        for number in dice.sample(range(len(arguments)), len(arguments)):
            yield number, step(*arguments[number])

    return each


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(1, 4),
    st.lists(st.sampled_from(TRIED), unique=True, max_size=8),
    st.integers(1, 3),
    st.builds(
        Cut,
        range=st.sampled_from([700, 5_000, 60_000, 10**7]),
        batch=st.sampled_from([1, 3_000, 10**7]),
        slots=st.sampled_from([1, 2, 8, 256, 4096]),
    ),
    st.randoms(use_true_random=False),
)
def test_any_cut_leaves_the_same_bytes(
    people: int, tried: list[str], files: int, cut: Cut, dice: random.Random
) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "each", shuffled(dice))
        whole, parts = Workspace(Path(name) / "whole"), Workspace(Path(name) / "parts")
        lines = world(people, tried, dice)
        land(Path(name) / "export", whole, lines, files, dice)
        land_folder(Path(name) / "export", parts.landing, now=NOW)
        landing = open_landing(whole.landing)
        expected = screen_whole(Task(TRIAL, whole, AS_OF, True), landing, lambda _: None)
        screened = screen_in_parts(
            Task(TRIAL, parts, AS_OF), open_landing(parts.landing), lambda _: None, workers=1, cut=cut
        )
        assert left(whole.screening) == left(parts.screening)
        assert (screened.facts, screened.decisions) == (expected.facts, expected.decisions)


@pytest.mark.parametrize("name", TRIED)
def test_each_tie_alone(name: str, tmp_path: Path) -> None:
    """With as many units as there can be, so that whoever is not tied is judged apart."""
    dice = random.Random(name)  # noqa: S311 - data, no secret
    whole, parts = Workspace(tmp_path / "whole"), Workspace(tmp_path / "parts")
    land(tmp_path / "export", whole, world(5, [name], dice), 1, dice)
    land_folder(tmp_path / "export", parts.landing, now=NOW)
    screening.screen(TRIAL, whole, as_of=AS_OF)
    cut = Cut(4_000, 1, 4096)
    screening.screen(TRIAL, parts, as_of=AS_OF, workers=1, cut=cut)
    assert left(whole.screening) == left(parts.screening)


def test_several_processes_leave_the_same_bytes(tmp_path: Path) -> None:
    dice = random.Random(3)  # noqa: S311 - data, no secret
    whole, parts = Workspace(tmp_path / "whole"), Workspace(tmp_path / "parts")
    land(tmp_path / "export", whole, world(4, TRIED[:8], dice), 2, dice)
    land_folder(tmp_path / "export", parts.landing, now=NOW)
    screening.screen(TRIAL, whole, as_of=AS_OF)
    screening.screen(TRIAL, parts, as_of=AS_OF, workers=3, cut=Cut(20_000, 20_000, 256))
    assert left(whole.screening) == left(parts.screening)
