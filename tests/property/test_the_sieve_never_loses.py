"""Verdicts with the sieve and without it are the same rows, whatever the lines look like.

The oracle is the program without its sieve: every line is parsed and mapped for the same nominated people.
The lines are patients' charts of the synthetic hospital, hurt: written by an adversarial JSON writer, owners
named in every way FHIR allows of and in some that it does not, versions of one resource that belong to
different people, specimens of other people, identifiers that several bear, merged records, names said twice,
blank lines, either line end, a byte order mark, no last line end.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter import screening
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.mappers import map_resources
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.screening import dropped
from adapter.source import landing as reading
from adapter.source import owners
from adapter.source.landing import Landing, land_folder, open_landing
from adapter.source.nominate import holds
from adapter.source.sieve import Kept
from adapter.trial import Workspace, open_trial
from tests.property.test_sieve import dice_of, written

TRIAL = open_trial()
QUERY = candidate_query(TRIAL.terminology, TRIAL.protocol.candidates, TRIAL.protocol.id)
AS_OF = date(2019, 6, 3)
NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
ENCODER = msgspec.json.Encoder(decimal_format="number")
KEYS = ("subject", "patient", "individual", "beneficiary")
Row = dict[str, Any]
Chart = list[Row]


def charts() -> Iterator[tuple[Chart, bool]]:
    """Planted people, who are candidates, and others of the hospital; whether they are planted."""
    planted = others = 0
    for chart, truth in everyone(20190603, PLANTED + 30):
        planted, others = planted + bool(truth), others + (not truth)
        if planted % 17 == 1 if truth else others <= 6:
            rows = [msgspec.json.decode(ENCODER.encode(row)) for row in (*chart.rows, *chart.late)]
            yield [*rows, *specimens(rows)], bool(truth)


def specimens(rows: Chart) -> Iterator[Row]:
    """What every third result was taken from; the results are made to name it."""
    results = [row for row in rows if row["resourceType"] == "Observation"]
    for result in results[::3]:
        name = f"of-{result['id']}"
        result["specimen"] = {"reference": f"Specimen/{name}"}
        number = {"system": "urn:lab", "value": name}
        yield {
            "resourceType": "Specimen",
            "id": name,
            "identifier": [number],
            "accessionIdentifier": number,
            "subject": result["subject"],
        }


CHOSEN = list(islice(charts(), 10))
CHARTS = [chart for chart, _ in CHOSEN]
DRUGS: Chart = [msgspec.json.decode(ENCODER.encode(one)) for one in formulary()]
NAMES = [next(str(row["id"]) for row in chart if row["resourceType"] == "Patient") for chart in CHARTS]
PLANTED_NAMES = {name for name, (_, planted) in zip(NAMES, CHOSEN, strict=True) if planted}


def owner_key(row: Row) -> str | None:
    return next((key for key in KEYS if isinstance(row.get(key), dict)), None)


class Hurt:
    """One landing's lines, by file, and what was done to them."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.dice: random.Random = dice_of(draw(st.integers(0, 2**32)))
        chosen = draw(st.lists(st.sampled_from(range(len(CHARTS))), min_size=2, max_size=6, unique=True))
        self.rows = [copy.deepcopy(row) for at in chosen for row in CHARTS[at]]
        self.names = [NAMES[at] for at in chosen]
        self.lines: dict[str, list[bytes]] = {}
        for _ in range(draw(st.integers(0, 60))):
            row = self.dice.choice(self.rows)
            getattr(self, draw(st.sampled_from(self.WAYS)))(row)
        for row in (*DRUGS, *self.rows):
            self._put(row, self._plain(row) if self.dice.random() < 0.7 else written(row, self.dice))
        for _ in range(draw(st.integers(0, 4))):
            self._twice(self.dice.choice(self.rows))

    WAYS = (
        "absolute",
        "versioned",
        "uuid",
        "logical",
        "conditional",
        "bears",
        "sampled",
        "labelled",
        "nobody",
        "contained",
        "second",
        "merged",
        "moved",
        "display",
        "spelled",
        "nested",
    )

    def _plain(self, row: Row) -> str:
        spacing = self.dice.choice([(",", ":"), (", ", ": ")])
        return json.dumps(row, ensure_ascii=self.dice.random() < 0.2, separators=spacing)

    def _put(self, row: Row, text: str) -> None:
        self.lines.setdefault(row["resourceType"], []).append(text.encode())

    def _other(self) -> str:
        return self.dice.choice(self.names)

    def _say(self, row: Row, reference: Row) -> None:
        if key := owner_key(row):
            row[key] = reference

    def absolute(self, row: Row) -> None:
        if key := owner_key(row):
            row[key] = {"reference": "https://ehr.example/fhir/r4/" + str(row[key].get("reference"))}

    def versioned(self, row: Row) -> None:
        if key := owner_key(row):
            row[key] = {"reference": str(row[key].get("reference")) + "/_history/2"}

    def uuid(self, row: Row) -> None:
        self._say(row, {"reference": f"urn:uuid:{self._other()}"})

    def logical(self, row: Row) -> None:
        self._say(row, {"identifier": {"system": "urn:mrn", "value": self._other()}})

    def conditional(self, row: Row) -> None:
        self._say(row, {"reference": f"Patient?identifier=urn:mrn|{self._other()}"})

    def _one(self, kind: str) -> Row:
        return self.dice.choice([row for row in self.rows if row["resourceType"] == kind])

    def bears(self, _: Row) -> None:
        """Somebody bears a number that may be another's too."""
        self._one("Patient").setdefault("identifier", []).append(
            {"system": "urn:mrn", "value": self._other()}
        )

    def labelled(self, _: Row) -> None:
        """A specimen bears the number of another, as well or instead."""
        number = {"system": "urn:lab", "value": self._one("Specimen")["id"]}
        self._one("Specimen")["identifier"] = [number, *self._one("Specimen")["identifier"]][
            : self.dice.choice([1, 2])
        ]

    def sampled(self, _: Row) -> None:
        """A result names a specimen, which may be another's."""
        name = str(self._one("Specimen")["id"])
        number = {"system": "urn:lab", "value": name}
        row = self._one(self.dice.choice(["Observation", "Observation", "DiagnosticReport"]))
        reference: Row = self.dice.choice(
            [
                {"reference": f"Specimen/{name}"},
                {"reference": f"https://ehr.example/fhir/r4/Specimen/{name}/_history/2"},
                {"reference": f"urn:uuid:{name}"},
                {"reference": f"Specimen?identifier=urn:lab|{name}"},
                {"identifier": number},
                {"identifier": number, "type": "Specimen"},
                {"reference": "#taken"},
            ]
        )
        if "#taken" in reference.values():
            which = self.dice.choice(["identifier", "accessionIdentifier"])
            inner = {"resourceType": "Specimen", "id": "taken", which: number}
            row.setdefault("contained", []).append(inner)
        row["specimen"] = reference if row["resourceType"] == "Observation" else [reference]

    def nobody(self, row: Row) -> None:
        if key := owner_key(row):
            del row[key]

    def contained(self, row: Row) -> None:
        inner: Row = {"resourceType": "Observation", "id": "in", "status": "final", "code": {"text": "x"}}
        row["contained"] = [inner | {"subject": {"reference": f"Patient/{self._other()}"}}]

    def spelled(self, row: Row) -> None:
        """Literal references that are not as FHIR has them, and are read all the same."""
        name = self._other()
        some = [f" Patient/{name} ", f"URN:UUID:{name}", f"urn:oid:{name}", f"/Patient/{name}"]
        self._say(row, {"reference": self.dice.choice(some)})

    def nested(self, row: Row) -> None:
        """The only subject, if the row had one, is said in an element where FHIR has none."""
        if key := owner_key(row):
            row["note"] = [{key: row.pop(key)}]
        else:
            row["note"] = [{"subject": {"reference": f"Patient/{self._other()}"}}]

    def second(self, row: Row) -> None:
        if row["resourceType"] == "Observation":
            row["performer"] = [{"reference": f"Patient/{self._other()}"}]

    def display(self, row: Row) -> None:
        if key := owner_key(row):
            row[key] = row[key] | {"display": f"Patient/{self._other()}"}

    def merged(self, _: Row) -> None:
        patients = [row for row in self.rows if row["resourceType"] == "Patient"]
        kind = self.dice.choice(["replaces", "replaced-by", "seealso", "refer"])
        other: Row = self.dice.choice(
            [
                {"reference": f"Patient/{self._other()}"},
                {"identifier": {"system": "urn:mrn", "value": self._other()}},
                {"reference": f"Patient?identifier=urn:mrn|{self._other()}"},
            ]
        )
        self.dice.choice(patients)["link"] = [{"type": kind, "other": other}]

    def moved(self, row: Row) -> None:
        """A newer version belongs to somebody else."""
        newer = copy.deepcopy(row)
        row["meta"], newer["meta"] = {"versionId": "1"}, {"versionId": "2"}
        self._say(newer, {"reference": f"Patient/{self._other()}"})
        self.rows.append(newer)

    def _twice(self, row: Row) -> None:
        """The owner, or the id, said twice in one line: JSON readers take the last."""
        key = owner_key(row)
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        if not key:
            return
        other = f'{{"reference":"Patient/{self._other()}"}}'
        inner = f'"reference":"Patient/{self._other()}"'
        twice = self.dice.choice(
            [
                f'{text[:-1]},"{key}":{other}}}',
                f'{{"{key}":{other},{text[1:]}',
                text.replace(f'"{key}":{{', f'"{key}":{{{inner},', 1),
                text.replace(f'"{key}":', '"\\u00' + f'{ord(key[0]):02x}{key[1:]}":', 1),
                f'{text[:-1]},"id":"{self.dice.choice(self.rows)["id"]}"}}',
                f'{text[:-1]},"\\u0069d":"{self.dice.choice(self.rows)["id"]}"}}',
                text[:-7],
                "",
            ]
        )
        self._put(row, twice)

    def write(self, folder: Path) -> None:
        folder.mkdir()
        for kind, lines in sorted(self.lines.items()):
            self.dice.shuffle(lines)
            end = self.dice.choice([b"\n", b"\n", b"\r\n", b"\n\n"])
            last = end if self.dice.random() < 0.7 else b""
            mark = b"\xef\xbb\xbf" if self.dice.random() < 0.2 else b""
            (folder / f"{kind}.ndjson").write_bytes(mark + end.join(lines) + last)


def everything(block: bytes, _: frozenset[str]) -> list[Kept]:
    lines = (Kept(at, line.strip()) for at, line in enumerate(block.split(b"\n")))
    return [one for one in lines if one.line]


def everybody_of_interest(workspace: Workspace) -> set[str]:
    """Patients who have a fact that the protocol's candidates clause asks for, by mapping every line."""
    lines = open_landing(workspace.landing).resources()
    facts = map_resources(lines, terminology=TRIAL.terminology, zone=TRIAL.site.zone)
    asked = {*TRIAL.protocol.candidates.events, *TRIAL.protocol.candidates.findings}
    ours = TRIAL.protocol.id
    events = (
        one
        for one in facts.events
        if "research" not in one.category or ours in one.attribute("study_identifier")
    )
    patients = {one.id for one in facts.subjects}
    return patients & {one.subject for one in (*events, *facts.findings) if one.concept in asked}


def evidence(found: screening.Screening) -> list[object]:
    """All that is known of those who were decided about."""
    facts, people = found.facts, {one.subject for one in found.decisions}
    coverage = [row for row in facts.coverage if people and row.subject in ("", *people)]
    return [facts.subjects, facts.findings, facts.events, facts.interventions, coverage]


def test_a_result_corrected_to_be_somebody_elses_is_not_the_candidates(tmp_path: Path) -> None:
    """Every result that nominates nobody has a newer version of somebody whom nothing else nominates."""
    (candidate, name), other = (
        next(pair for pair in zip(CHARTS, NAMES, strict=True) if pair[1] in PLANTED_NAMES),
        next(name for name in NAMES if name not in PLANTED_NAMES),
    )
    newer = [
        row | {"meta": {"versionId": "999"}}
        for row in candidate
        if row["resourceType"] == "Observation"
        and not holds(json.dumps(row).encode(), QUERY.codes | QUERY.texts)
    ]
    newer = [row | {"subject": {"reference": f"Patient/{other}"}} for row in newer]
    patient = {"resourceType": "Patient", "id": other}
    export, workspace = tmp_path / "export", Workspace(tmp_path / "site")
    export.mkdir()
    for kind in {row["resourceType"] for row in candidate}:
        rows = [row for row in (*candidate, *newer, patient) if row["resourceType"] == kind]
        (export / f"{kind}.ndjson").write_text("\n".join(json.dumps(row) for row in rows))
    landing = land_folder(export, workspace.landing, now=NOW, copy=False)
    assert landing.moved == (tuple(sorted((name, other))),)
    by_an_older_program = msgspec.structs.replace(landing.manifest, moved=msgspec.UNSET)
    assert Landing(landing.folder, by_an_older_program).moved == landing.moved
    found = screening.screen(TRIAL, workspace, as_of=AS_OF, full=True)
    assert [one.subject for one in found.decisions] == [name]
    corrected = {f"Observation/{row['id']}" for row in newer}
    kept = [row for row in found.facts.findings if row.source.reference in corrected and not row.derived_from]
    assert {row.subject for row in kept} == {name}
    assert {row.excluded for row in kept} == {"SUPERSEDED"}


def test_what_the_sieve_dropped_is_read_where_a_result_looks_it_up(tmp_path: Path) -> None:
    """Results of a candidate: from a stranger's specimen, by an identifier that both bear, and plain."""
    system = {"system": "urn:mrn", "value": "7"}
    result: Row = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "1751-7"}]},
        "valueQuantity": {"value": 30, "unit": "g/L", "code": "g/L"},
        "subject": {"reference": "Patient/candidate"},
    }
    rows: list[Row] = [
        {"resourceType": "Patient", "id": "candidate", "identifier": [system]},
        {"resourceType": "Patient", "id": "stranger", "identifier": [system]},
        {
            "resourceType": "Condition",
            "id": "c",
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
            "subject": {"reference": "Patient/candidate"},
        },
        {"resourceType": "Specimen", "id": "theirs", "subject": {"reference": "Patient/stranger"}},
        result | {"id": "plain", "effectiveDateTime": "2019-05-01"},
        result
        | {"id": "taken", "effectiveDateTime": "2019-05-02", "specimen": {"reference": "Specimen/theirs"}},
        result | {"id": "whose", "effectiveDateTime": "2019-05-03", "subject": {"identifier": system}},
    ]
    export, workspace = tmp_path / "export", Workspace(tmp_path / "site")
    export.mkdir()
    for kind in {row["resourceType"] for row in rows}:
        lines = [json.dumps(row) for row in rows if row["resourceType"] == kind]
        (export / f"{kind}.ndjson").write_text("\n".join(lines))
    land_folder(export, workspace.landing, now=NOW, copy=False)
    found = screening.screen(TRIAL, workspace, as_of=AS_OF, full=True)
    assert [one.subject for one in found.decisions] == ["candidate"]
    albumin = {row.source.reference: row.excluded for row in found.facts.findings if row.concept == "albumin"}
    assert albumin == {"Observation/plain": "", "Observation/taken": "WRONG_SUBJECT"}
    assert [row.id for row in found.facts.subjects] == ["candidate"]
    assert ("NO_SUBJECT", "Observation/whose") in {(one.code, one.reference) for one in found.facts.issues}
    assert "PATIENT_NOT_SENT" not in {one.code for one in found.facts.issues}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_verdicts_are_those_of_parsing_everything(data: st.DataObject) -> None:
    hurt = data.draw(st.composite(Hurt)())
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(owners, "SMALL", 0)
        export, workspace = Path(name) / "export", Workspace(Path(name) / "site")
        hurt.write(export)
        land_folder(export, workspace.landing, now=NOW, copy=False)
        sieved = screening.screen(TRIAL, workspace, as_of=AS_OF, full=True)
        patch.setattr(reading, "sieve", everything)
        patch.setattr(dropped, "sieve", lambda lines, _: lines)
        parsed = screening.screen(TRIAL, workspace, as_of=AS_OF, full=True)
        assert sieved.decisions == parsed.decisions
        assert everybody_of_interest(workspace) <= open_landing(workspace.landing).candidates(QUERY).ids
        assert evidence(sieved) == evidence(parsed)
