"""Bad inputs, one a row, each among good neighbours: a named issue or the right reading, and nothing lost.

Expected values are worked out by hand from the line itself and FHIR R4, not from a run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest

from adapter import pipeline, protocol
from adapter.config import product_folder
from adapter.mappers import map_resources
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.coverage import Coverage, is_covered
from adapter.model.facts import Facts, Finding
from adapter.source.landing import Landing, land_folder

NOW = datetime(2019, 6, 3, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
ALBUMIN, CREATININE, PROTEIN_24H, CRP, MONOCYTES = "1751-7", "14682-9", "2889-4", "1988-5", "742-7"
ELSEWHERE = [{"url": "http://elsewhere.example/not-really", "valueBoolean": True}]


@pytest.fixture(scope="module")
def terminology() -> Terminology:
    return Terminology.load(product_folder("mappings"), None)


def line(resource: dict[str, Any]) -> bytes:
    kept = {name: value for name, value in resource.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode()


def patient(key: str, **more: Any) -> bytes:
    return line({"resourceType": "Patient", "id": key, "gender": "male", "birthDate": "1970-05-01", **more})


def observation(key: str = "bad", code: str = ALBUMIN, **more: Any) -> bytes:
    """Albumin 25.3 g/L of p1 on 2019-05-20, changed as told; None leaves an element out."""
    base: dict[str, Any] = {
        "resourceType": "Observation",
        "id": key,
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2019-05-20T08:00:00+08:00",
        "valueQuantity": {"value": 25.3, "unit": "g/L", "system": UCUM, "code": "g/L"},
    }
    return line({**base, **more})


def quantity(value: float, unit: str, **more: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, **more}


def number(text: bytes) -> bytes:
    """The albumin whose number is written so."""
    return observation().replace(b"25.3", text)


def text(value: str, code: str = ALBUMIN) -> bytes:
    return observation(code=code, valueQuantity=None, valueString=value)


def with_tail(tail: bytes) -> bytes:
    return observation()[:-1] + b"," + tail + b"}"


GOOD = (
    patient("p1"),
    patient("p2"),
    observation("good-1", valueQuantity=quantity(31, "g/L"), effectiveDateTime="2019-05-06"),
    observation("good-2", valueQuantity=quantity(42, "g/L"), subject={"reference": "Patient/p2"}),
)


class Reading(NamedTuple):
    """What ``Observation/bad`` says: limits in the canonical unit, and why it may not decide."""

    low: Fraction | None
    high: Fraction | None
    unit: str = "g/L"
    excluded: str = ""


READ = Reading(Fraction("25.3"), Fraction("25.3"))


def only(value: str, unit: str = "g/L", excluded: str = "") -> Reading:
    return Reading(Fraction(value), Fraction(value), unit, excluded)


def no_number(excluded: str) -> Reading:
    return Reading(None, None, "", excluded)


def landed(folder: Path, files: dict[str, bytes]) -> Landing:
    source = folder / "export"
    source.mkdir()
    for name, content in files.items():
        (source / name).write_bytes(content)
    return land_folder(source, folder / "landing", now=NOW)


def mapped(landing: Landing, terminology: Terminology) -> Facts:
    facts = map_resources(landing.resources(), terminology=terminology, zone=ZONE, coverage=landing.coverage)
    assert sum(one.read for one in facts.accounts) == landing.lines
    assert all(one.balanced for one in facts.accounts)
    return facts


def of(facts: Facts, key: str) -> list[Finding]:
    """The readings of one resource, without what was computed from them."""
    mine = [row for row in facts.findings if row.source.reference == f"Observation/{key}"]
    return [row for row in mine if row.category != "derived"]


def read(lines: Iterable[bytes], folder: Path, terminology: Terminology) -> Facts:
    """Land and map the lines between good ones; the good ones come out as if alone."""
    bad = list(lines)
    body = b"".join(one + b"\n" for one in (*GOOD[:3], *bad, GOOD[3]))
    landing = landed(folder, {"export.ndjson": body})
    assert landing.lines == len(bad) + len(GOOD)
    facts = mapped(landing, terminology)
    for key, value, owner in (("good-1", 31, "p1"), ("good-2", 42, "p2")):
        (row,) = of(facts, key)
        assert (row.subject, row.value and row.value.low, row.excluded) == (owner, value, "")
    assert {"p1", "p2"} <= {one.id for one in facts.subjects}
    return facts


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


# ---- lines that are no resource: one issue, no row --------------------------------------------------

REFUSED: dict[str, tuple[bytes, str]] = {
    "nested 1,000 deep, in an element nobody reads": (with_tail(b'"x":' + nested(1000)), "TOO_DEEP"),
    "nested 100,000 deep": (with_tail(b'"x":' + nested(100_000)), "TOO_DEEP"),
    "extensions 1,000 deep": (
        with_tail(b'"extension":' + b'[{"extension":' * 1000 + b"[]" + b"}]" * 1000),
        "TOO_DEEP",
    ),
    "the value written twice": (with_tail(b'"valueQuantity":{"value":52,"unit":"g/L"}'), "DUPLICATE_KEY"),
    "the number written twice": (number(b'25.3,"value":52'), "DUPLICATE_KEY"),
    "the status written twice, once escaped": (
        with_tail(rb'"stat\u0075s":"entered-in-error"'),
        "DUPLICATE_KEY",
    ),
    "NaN": (number(b"NaN"), "MALFORMED_JSON"),
    "Infinity": (number(b"-Infinity"), "MALFORMED_JSON"),
    "a leading zero": (number(b"025.3"), "MALFORMED_JSON"),
    "a comparator inside the number": (number(b'"<0.15"'), "WRONG_TYPE"),
    "a decimal comma inside the number": (number(b'"25,3"'), "WRONG_TYPE"),
    "a lone high surrogate": (
        observation(code=ALBUMIN, issued="X").replace(b"X", rb"\ud800"),
        "MALFORMED_JSON",
    ),
    "a lone low surrogate": (observation(issued="X").replace(b"X", rb"\udfff"), "MALFORMED_JSON"),
    "GBK instead of UTF-8": (observation(issued="X").replace(b"X", "白蛋白".encode("gbk")), "MALFORMED_JSON"),
    "a NUL byte": (observation().replace(b"final", b"fi\x00nal"), "MALFORMED_JSON"),
    "two resources on a line": (observation() + observation(), "MALFORMED_JSON"),
    "cut short": (observation()[:-30], "MALFORMED_JSON"),
    "an array": (b"[" + observation() + b"]", "WRONG_TYPE"),
    "a list of subjects": (observation(subject=[{"reference": "Patient/p1"}]), "WRONG_TYPE"),
    "an unknown modifierExtension": (observation(modifierExtension=ELSEWHERE), "MODIFIER_EXTENSION"),
    "one in a reference range": (
        observation(referenceRange=[{"low": quantity(40, "g/L"), "modifierExtension": ELSEWHERE}]),
        "MODIFIER_EXTENSION",
    ),
    "one in a contained specimen": (
        observation(
            specimen={"reference": "#s"},
            contained=[{"resourceType": "Specimen", "id": "s", "modifierExtension": ELSEWHERE}],
        ),
        "MODIFIER_EXTENSION",
    ),
    "rules to follow that are not known": (observation(implicitRules="http://x.example"), "IMPLICIT_RULES"),
    "a type that does not exist": (b'{"resourceType":"Observatoin","id":"bad"}', "UNKNOWN_RESOURCE_TYPE"),
    "no type": (b'{"id":"bad"}', "NO_RESOURCE_TYPE"),
    "a type that is no text, and a candidate's code": (
        b'{"resourceType":{},"id":"bad","conclusionCode":[{"coding":[{"code":"236414001"}]}]}',
        "WRONG_TYPE",
    ),
    "a Bundle": (b'{"resourceType":"Bundle","entry":[{"resource":' + observation() + b"}]}", "NOT_UNPACKED"),
    "nobody's": (observation(subject=None), "NO_SUBJECT"),
    "the subject by name only": (observation(subject={"display": "CANARY"}), "NO_SUBJECT"),
}


@pytest.mark.parametrize(("bad", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_with_a_name(bad: bytes, code: str, tmp_path: Path, terminology: Terminology) -> None:
    facts = read([bad], tmp_path, terminology)
    assert [one.code for one in facts.issues] == [code]
    assert facts.issues[0].fatal_for_resource
    assert facts.issues[0].reference in ("Observation/bad", "export.ndjson:4")
    assert sum(one.issues for one in facts.accounts) == 1
    assert of(facts, "bad") == []
    assert b"CANARY" not in wire.encode(facts)


# ---- lines that are read: as what, and with which issues --------------------------------------------

READINGS: dict[str, tuple[bytes, Reading, list[str]]] = {
    "as it should be": (observation(), READ, []),
    "nested 400 deep, in an element nobody reads": (with_tail(b'"x":' + nested(400)), READ, []),
    "1e400": (number(b"1e400"), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "1e-400": (number(b"1e-400"), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "NaN in quotes": (number(b'"NaN"'), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "a signalling NaN": (number(b'"sNaN"'), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "a signalling NaN as a limit": (
        observation(referenceRange=[{"low": {"value": "sNaN", "unit": "g/L"}, "high": quantity(55, "g/L")}]),
        READ,
        [],
    ),
    "a signalling NaN beside the code": (
        observation().replace(b'"code":"1751-7"', b'"code":"1751-7","extension":[{"valueDecimal":"sNaN"}]'),
        READ,
        [],
    ),
    "23 digits, all kept": (
        number(b"25.300000000000000000001"),
        only("25.300000000000000000001"),
        [],
    ),
    "a 23-digit number of grams": (
        number(b"12345678901234567890123"),
        only("12345678901234567890123", excluded="IMPLAUSIBLE"),
        ["IMPLAUSIBLE"],
    ),
    "a number in quotes": (number(b'"25.3"'), READ, []),
    "null": (number(b"null"), no_number("NO_VALUE"), []),
    "<0.15 as text": (
        text("<0.15 g/24h", PROTEIN_24H),
        Reading(None, Fraction("0.15"), "g/d"),
        [],
    ),
    "<0.15 as comparator": (
        observation(code=PROTEIN_24H, valueQuantity=quantity(0.15, "g/24h", comparator="<")),
        Reading(None, Fraction("0.15"), "g/d"),
        [],
    ),
    "a comparator that FHIR does not have": (
        observation(valueQuantity=quantity(25.3, "g/L", comparator="~")),
        no_number("UNPARSED_TEXT"),
        ["UNPARSED_TEXT"],
    ),
    "a decimal comma": (text("25,3 g/L"), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "a formula": (text("=cmd|' /C calc'!A0"), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "right to left": (text("\u202e3.52 g/L"), no_number("UNPARSED_TEXT"), ["UNPARSED_TEXT"]),
    "a direction mark in the unit": (
        observation(valueQuantity=quantity(25.3, "g/L\u202e")),
        no_number("UNIT_UNKNOWN"),
        ["UNIT_UNKNOWN"],
    ),
    "the micro sign": (
        observation(code=CREATININE, valueQuantity=quantity(80, "\u00b5mol/L")),
        only("80", "umol/L"),
        [],
    ),
    "the Greek mu": (
        observation(code=CREATININE, valueQuantity=quantity(80, "\u03bcmol/L")),
        only("80", "umol/L"),
        [],
    ),
    "g/24h": (
        observation(code=PROTEIN_24H, valueQuantity=quantity(3.5, "g/24h")),
        only("3.5", "g/d"),
        [],
    ),
    "10^9/L for a count nobody asks for": (
        observation(code=MONOCYTES, valueQuantity=quantity(6.2, "10^9/L")),
        no_number("UNMAPPED"),
        [],
    ),
    "10^9/L for a mass": (
        observation(valueQuantity=quantity(25.3, "10^9/L")),
        no_number("UNIT_UNKNOWN"),
        ["UNIT_UNKNOWN"],
    ),
    "a script in the narrative": (
        observation(text={"status": "generated", "div": "<div><script>alert('CANARY')</script></div>"}),
        READ,
        [],
    ),
    "entered in error": (
        observation(status="entered-in-error"),
        only("25.3", excluded="ENTERED_IN_ERROR"),
        [],
    ),
    "a status that does not exist": (
        observation(status="finale"),
        only("25.3", excluded="STATUS_UNKNOWN"),
        ["BAD_CODE"],
    ),
    "month 13": (
        observation(effectiveDateTime="2024-13-01"),
        only("25.3", excluded="NO_DATE"),
        ["BAD_DATE", "NO_DATE"],
    ),
    "30 February": (
        observation(effectiveDateTime="2019-02-30"),
        only("25.3", excluded="NO_DATE"),
        ["BAD_DATE", "NO_DATE"],
    ),
    "a date without hyphens": (
        observation(effectiveDateTime="20190520"),
        only("25.3", excluded="NO_DATE"),
        ["BAD_DATE", "NO_DATE"],
    ),
    "a time past the end of time": (
        observation(effectiveDateTime="9999-12-31T23:59:59-12:00"),
        only("25.3", excluded="NO_DATE"),
        ["BAD_DATE", "NO_DATE"],
    ),
    "itself as a member": (observation(hasMember=[{"reference": "Observation/bad"}]), READ, []),
    "another patient's specimen": (
        observation(
            specimen={"reference": "#s"},
            contained=[{"resourceType": "Specimen", "id": "s", "subject": {"reference": "Patient/p2"}}],
        ),
        only("25.3", excluded="WRONG_SUBJECT"),
        ["WRONG_SUBJECT"],
    ),
    "about another patient": (
        observation(focus=[{"reference": "Patient/p2"}]),
        only("25.3", excluded="WRONG_SUBJECT"),
        ["WRONG_SUBJECT"],
    ),
    "a specimen that is its own parent": (
        observation(
            specimen={"reference": "#s"},
            contained=[{"resourceType": "Specimen", "id": "s", "parent": [{"reference": "#s"}]}],
        ),
        READ,
        [],
    ),
}


@pytest.mark.parametrize(("bad", "reading", "issues"), READINGS.values(), ids=READINGS.keys())
def test_read_as(
    bad: bytes, reading: Reading, issues: list[str], tmp_path: Path, terminology: Terminology
) -> None:
    facts = read([bad], tmp_path, terminology)
    (row,) = of(facts, "bad")
    low, high = (row.value.low, row.value.high) if row.value else (None, None)
    assert Reading(low, high, row.unit, row.excluded) == reading
    assert row.subject == "p1"
    assert sorted(one.code for one in facts.issues) == issues
    assert not any(one.fatal_for_resource for one in facts.issues)
    assert b"calc" not in wire.encode(facts.issues)
    assert b"CANARY" not in wire.encode(facts)


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("2018", date(2018, 1, 1), date(2018, 12, 31)),
        ("2018-11", date(2018, 11, 1), date(2018, 11, 30)),
        ("2019-05-05T16:30:00Z", date(2019, 5, 6), date(2019, 5, 6)),  # 00:30 on the 6th in Shanghai
        ("2999-01-01", date(2999, 1, 1), date(2999, 1, 1)),  # the future is for the rules to refuse
    ],
)
def test_dates_keep_their_precision(
    written: str, first: date, last: date, tmp_path: Path, terminology: Terminology
) -> None:
    facts = read([observation(effectiveDateTime=written)], tmp_path, terminology)
    (row,) = of(facts, "bad")
    assert row.when is not None
    assert (row.when.first, row.when.last, row.when.text) == (first, last, written)
    assert facts.issues == ()


def test_a_result_from_the_future_decides_nothing(tmp_path: Path) -> None:
    trial = pipeline.open_trial(site="")
    facts = read([observation(effectiveDateTime="2999-01-01")], tmp_path, trial.terminology)
    decision = protocol.evaluate(trial.protocol, facts.of("p1"), as_of=NOW.date(), zone=ZONE)
    used = {
        evidence.source.reference
        for criterion in decision.criteria
        for evidence in criterion.evidence
        if evidence.role == "used"
    }
    assert "Observation/good-1" in used
    assert "Observation/bad" not in used


def test_two_panels_that_hold_each_other(tmp_path: Path, terminology: Terminology) -> None:
    value = quantity(20, "g/L")
    ring = (
        observation("bad", hasMember=[{"reference": "Observation/worse"}]),
        observation("worse", valueQuantity=value, hasMember=[{"reference": "Observation/bad"}]),
    )
    facts = read(ring, tmp_path, terminology)
    assert [row.value and row.value.low for key in ("bad", "worse") for row in of(facts, key)] == [
        Fraction("25.3"),
        Fraction(20),
    ]


def test_contained_members_that_hold_each_other(tmp_path: Path, terminology: Terminology) -> None:
    inner = json.loads(observation("a", valueQuantity=quantity(20, "g/L"), hasMember=[{"reference": "#b"}]))
    other = {**inner, "id": "b", "hasMember": [{"reference": "#a"}, {"reference": "#"}]}
    panel = observation(
        code="24323-8", valueQuantity=None, contained=[inner, other], hasMember=[{"reference": "#a"}]
    )
    facts = read([panel], tmp_path, terminology)
    assert [row.value and row.value.low for row in of(facts, "bad") if not row.excluded] == [Fraction(20)]


def test_another_patients_result_in_a_report(tmp_path: Path, terminology: Terminology) -> None:
    inner = json.loads(observation("c", subject={"reference": "Patient/p2"}))
    report = {
        "resourceType": "DiagnosticReport",
        "id": "bad",
        "status": "final",
        "code": {"text": "panel"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2019-05-20",
        "contained": [inner],
        "result": [{"reference": "#c"}],
    }
    facts = read([line(report)], tmp_path, terminology)
    assert [one.code for one in facts.issues] == ["WRONG_SUBJECT"]
    found = [row for row in facts.findings if row.source.reference == "DiagnosticReport/bad"]
    assert found
    assert {row.excluded for row in found} == {"WRONG_SUBJECT"}


def test_a_modified_part_is_left_out_alone(tmp_path: Path, terminology: Terminology) -> None:
    albumin, protein = ({"coding": [{"system": LOINC, "code": code}]} for code in (ALBUMIN, CRP))
    parts = [
        {"code": albumin, "valueQuantity": quantity(25.3, "g/L"), "modifierExtension": ELSEWHERE},
        {"code": protein, "valueQuantity": quantity(4, "mg/L")},
    ]
    facts = read([observation(code="24323-8", valueQuantity=None, component=parts)], tmp_path, terminology)
    assert [(one.code, one.path) for one in facts.issues] == [("MODIFIER_EXTENSION", "component[0]")]
    assert [row.concept for row in of(facts, "bad") if not row.excluded] == ["crp"]


def test_a_modified_dose_is_no_dose(tmp_path: Path, terminology: Terminology) -> None:
    order = {
        "resourceType": "MedicationRequest",
        "id": "bad",
        "status": "active",
        "intent": "order",
        "authoredOn": "2019-05-01",
        "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "L04AD02"}]},
        "dosageInstruction": [{"text": "2 mg", "modifierExtension": ELSEWHERE}],
    }
    facts = read([line(order)], tmp_path, terminology)
    assert [(one.code, one.path) for one in facts.issues] == [
        ("MODIFIER_EXTENSION", "MedicationRequest.dosageInstruction[0]")
    ]
    assert facts.interventions == ()


def test_merged_in_a_circle(tmp_path: Path, terminology: Terminology) -> None:
    def linked(own: str, other: str) -> bytes:
        return patient(own, link=[{"other": {"reference": f"Patient/{other}"}, "type": "replaced-by"}])

    facts = read([linked("p8", "p9"), linked("p9", "p8")], tmp_path, terminology)
    assert Counter(one.code for one in facts.issues) == {"MERGE_CYCLE": 2}
    assert {one.id: one.excluded for one in facts.subjects if one.excluded} == {
        "p8": "MERGE_CYCLE",
        "p9": "MERGE_CYCLE",
    }


# ---- what could not be read is not read as absence --------------------------------------------------


def condition(**more: Any) -> bytes:
    base: dict[str, Any] = {
        "resourceType": "Condition",
        "id": "bad",
        "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "A15.0"}]},
    }
    return line({**base, **more})


@pytest.mark.parametrize(
    ("bad", "lost_for"),
    [
        (condition(), set()),
        (condition(code={"coding": {"code": "A15.0"}}), {"p1"}),
        (condition(modifierExtension=ELSEWHERE), {"p1"}),
        (condition(stage=[{"modifierExtension": ELSEWHERE}]), {"p1"}),
        (condition()[:-1], {"p1"}),
        (condition()[:-1] + b',"code":{"text":"none"}}', {"p1"}),
        (b'{"resourceType":"Condition","id":"bad","code":{"te', {"p1", "p2"}),  # nobody knows whose
        (b"\x00\x01", {"p1", "p2"}),
        (condition() + b"\n" + condition(), set()),  # a copy loses nothing
    ],
    ids=["good", "wrong type", "modified", "modified inside", "cut", "twice", "no owner", "noise", "copy"],
)
def test_an_unreadable_diagnosis_is_not_an_absent_one(
    bad: bytes, lost_for: set[str], tmp_path: Path, terminology: Terminology
) -> None:
    """A hospital sent all Conditions; one cannot be read: silence about its owner proves nothing any more."""
    landing = landed(tmp_path, {"all.ndjson": b"\n".join((*GOOD, bad))})
    facts = map_resources(
        landing.resources(), terminology=terminology, zone=ZONE, coverage=[Coverage("Condition", True)]
    )
    silent = {one for one in ("p1", "p2") if is_covered(facts.coverage, "Condition", one, None, None)}
    assert silent == {"p1", "p2"} - lost_for


def test_what_replaced_a_result_and_cannot_be_read_still_replaced_it(
    tmp_path: Path, terminology: Terminology
) -> None:
    older = observation(meta={"versionId": "1"})
    newer = observation(meta={"versionId": "2"}, valueQuantity={"value": [25]})
    facts = read([older, newer], tmp_path, terminology)
    assert [row.excluded for row in of(facts, "bad")] == ["SUPERSEDED"]


# ---- files ------------------------------------------------------------------------------------------

BODY = b"".join(one + b"\n" for one in GOOD)
FILES: dict[str, tuple[Callable[[bytes], bytes], list[str]]] = {
    "byte order mark": (lambda body: b"\xef\xbb\xbf" + body, []),
    "CRLF": (lambda body: body.replace(b"\n", b"\r\n"), []),
    "blank lines": (lambda body: b"\n \n" + body.replace(b"\n", b"\n\n"), []),
    "no last line end": (lambda body: body[:-1], []),
    "last line cut short": (
        lambda body: body + observation()[:-40],
        ["MALFORMED_JSON", "TRUNCATED_LINE"],
    ),
    "an empty line of zeros at the end": (lambda body: body + b"\x00" * 64 + b"\n", ["MALFORMED_JSON"]),
}


@pytest.mark.parametrize(("damage", "codes"), FILES.values(), ids=FILES.keys())
def test_files(
    damage: Callable[[bytes], bytes], codes: list[str], tmp_path: Path, terminology: Terminology
) -> None:
    landing = landed(tmp_path, {"Observation.ndjson": damage(BODY), "Condition.ndjson": b""})
    facts = mapped(landing, terminology)
    assert landing.lines == len(GOOD) + ("MALFORMED_JSON" in codes)
    assert {row.source.reference for row in facts.findings} == {"Observation/good-1", "Observation/good-2"}
    assert sorted(one.code for one in (*landing.issues, *facts.issues)) == codes
