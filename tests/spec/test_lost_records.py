"""What may still be said when a type of record was asked for and did not come, rule by rule.

By hand from docs/sync-and-coverage.md ("What is not complete is lost or limited"). Each line of a table is a
condition that is decided by the whole record, and the types of which nothing may be missing for that: if any
of these is lost the verdict is unknown with PARTIAL_RECORD, if any other is, it stays.

Screening is on 2019-06-03.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.decision import CriterionResult, Verdict
from adapter.model.nodes import Moment
from adapter.model.protocol import Protocol, Vocabulary
from adapter.model.rules import DayIs
from adapter.protocol import evaluate, load
from adapter.protocol.anchors import find_day
from adapter.protocol.context import Context
from adapter.protocol.evaluate import decide
from adapter.protocol.ladder import climb, verdict
from adapter.protocol.ladder_load import load_ladders
from adapter.protocol.partial import reach_of
from tests.spec.ladder_words import R, answered, enrolled, enzyme, gfr, ladders, tablets
from tests.spec.protocol_words import SCREENING, ZONE, Row, facts, had, lab, said, took, vocabulary
from tests.spec.test_why import protein

SHORT = {
    "obs": {"Observation"},
    "beside": {"DiagnosticReport", "Specimen"},
    "answers": {"QuestionnaireResponse"},
    "supply": {"MedicationAdministration", "MedicationDispense", "MedicationStatement"},
    "drugs": {
        "Medication",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationRequest",
        "MedicationStatement",
    },
    "study": {"ResearchStudy", "ResearchSubject"},
}
OTHERS = {"AdverseEvent", "AllergyIntolerance", "Condition", "Consent", "Encounter", "Patient", "Procedure"}
EVERY = sorted(OTHERS.union(*SHORT.values()))


def types(text: str) -> set[str]:
    return set().union(*(SHORT.get(word, {word}) for word in text.split()))


HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
questionnaire: https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation|1.0
study: {identifier: TRIAL-1, arms: [{code: A, title: a}, {code: B, title: b}]}
anchors:
  screening: {as_of: true}
  birth: {birth: true}
  told: {attested: visit-date}
  biopsy: {event: kidney_biopsy}
  consent: {event: research_consent}
  begun: {exposure: {drug: tacrolimus}, take: earliest}
  begun_since: {exposure: {drug: tacrolimus}, take: earliest, from: told}
  first_level: {reading: levels}
  a_year_on: {anchor: told + 12 months}
  either: {first_known: [{attested: visit-date}, {event: kidney_biopsy}]}
  high_since: {reading: first, above: 0.5 x reading:since_told}
  earlier: {earliest_of: [{attested: visit-date}, {exposure: {drug: tacrolimus}, take: earliest}]}
visits: [{id: V1, name: Month 1, day: 1 month, from: 1 month - 3 days, to: 1 month + 3 days}]
monitoring: {day_zero: told}
readings:
  weight: {finding: weight}
  levels: {finding: tacrolimus_trough, take: earliest}
  first: {finding: urine_protein_24h, take: earliest}
  last: {finding: urine_protein_24h}
  since_told: {finding: urine_protein_24h, from: told}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
    met_when: """


def words() -> Vocabulary:
    """The usual vocabulary, where a consent and an adverse event are resources of their own."""
    known = vocabulary()
    own = {"research_consent": ("Consent",), "adverse_event": ("AdverseEvent",)}
    concepts = {name: replace(known.concepts[name], resource_types=kinds) for name, kinds in own.items()}
    return replace(known, concepts={**known.concepts, **concepts})


def read(folder: Path, condition: str) -> Protocol:
    (folder / "protocol.yaml").write_text(f"{HEAD}{condition}\n", encoding="utf-8")
    return load(folder, words())


def judged(rule: Protocol, *rows: Row) -> CriterionResult:
    return evaluate(rule, facts(*rows), as_of=SCREENING, zone=ZONE).criterion("RULE")


def ruled(folder: Path, condition: str, *rows: Row) -> CriterionResult:
    return judged(read(folder, condition), *rows)


ON_STUDY = had(
    "research_subject",
    "2019-01-01",
    category="research-subject",
    attributes=(("study_identifier", "TRIAL-1"), ("assigned_arm", "A")),
)
HIGH, NINE, SEVEN = "above: 8 g/d", protein("9", "2019-05-10"), protein("7", "2019-05-20")
PROTEIN = "finding: urine_protein_24h"
DAILY = replace(took("tacrolimus", "2019-03-01"), daily_dose=4, dose_unit="mg")
ORDER = replace(took("tacrolimus", "2019-03-01", kind="order"), flags=("REQUEST_ONLY",))
LEVEL = lab("tacrolimus_trough", "7", "2019-05-01", unit="ng/mL")
TOLD = said("visit-date", "2019-01-01", "2019-01-01")
BIOPSY = had("kidney_biopsy", "2019-01-01", "2019-01-01", presence="past", category="procedure")
CONSENT = had("research_consent", "2019-01-01")
TWICE = f"{{repeated: {{{PROTEIN}, {HIGH}, readings: 2, apart: {{at_least: 1 day}}%s}}}}"
MOST = f"{{share: {{{PROTEIN}, {HIGH}, of_at_least: 1, passing: {{above: 50 %}}}}}}"
TROUGH = (
    "{finding: tacrolimus_trough, take: any, above: 5 ng/mL, timed: {after: tacrolimus,"
    " between: [11 hours, 13 hours], approximately: [10 hours, 14 hours], look_back: 24 hours,"
    " named: tacrolimus_trough}}"
)
TWO = (NINE, protein("10", "2019-05-12"))

READINGS = [
    # the latest, the highest: any further one may take its place
    (f"{{{PROTEIN}, {HIGH}}}", (NINE,), "met", "obs beside"),
    (f"{{{PROTEIN}, {HIGH}}}", (SEVEN,), "not_met", "obs beside"),
    (f"{{{PROTEIN}, take: highest, {HIGH}}}", (NINE,), "met", "obs beside"),
    (f"{{{PROTEIN}, take: mean, of_at_least: 1, {HIGH}}}", (NINE,), "met", "obs beside"),
    # any one that passes is enough; a report may still take back what it says
    (f"{{{PROTEIN}, take: any, {HIGH}}}", (NINE,), "met", "beside"),
    (f"{{{PROTEIN}, take: any, {HIGH}}}", (SEVEN,), "not_met", "obs beside"),
    (f"{{{PROTEIN}, take: any, last: 3, {HIGH}}}", (NINE,), "met", "obs beside"),
    (f"{{{PROTEIN}, take: every, {HIGH}}}", (SEVEN,), "not_met", "beside"),
    (f"{{{PROTEIN}, take: every, {HIGH}}}", (NINE,), "met", "obs beside"),
    (f"{{{PROTEIN}, exists: true}}", (NINE,), "met", "beside"),
    # so many that pass
    (TWICE % "", TWO, "met", "beside"),
    (TWICE % "", (protein("7", "2019-05-01"), SEVEN), "not_met", "obs beside"),
    (TWICE % ", last: 3", TWO, "met", "obs beside"),
    (
        f"{{share: {{{PROTEIN}, {HIGH}, of_at_least: 1, passing: {{above: 50 %}}}}}}",
        (NINE,),
        "met",
        "obs beside",
    ),
    ("{fall: {from: first, to: last}, above: 10 %}", (NINE, SEVEN), "met", "obs beside"),
    # what else a reading is judged by
    (f"{{{PROTEIN}, take: any, from: told, {HIGH}}}", (NINE, TOLD), "met", "beside answers"),
    (f"{{{PROTEIN}, take: any, above: 0.5 x reading:first}}", (NINE,), "met", "obs beside"),
    (
        f"{{{PROTEIN}, take: any, above: 0.5 x reading:since_told}}",
        (NINE, TOLD),
        "met",
        "obs beside answers",
    ),
    (
        f"{{{PROTEIN}, take: any, {HIGH}, not_during: {{event: kidney_biopsy, margin: 3 days}}}}",
        (NINE,),
        "met",
        "beside Procedure",
    ),
    (TROUGH, (LEVEL,), "met", "beside drugs"),
]
# The days that a window counts from, with one reading since then that passes.
DAYS = [
    ("screening - 60 days", (), ""),
    ("2019-01-01", (), ""),
    ("birth", (), ""),
    ("told", (TOLD,), "answers"),
    ("a_year_on - 12 months", (TOLD,), "answers"),
    ("biopsy", (BIOPSY,), "Procedure"),
    ("consent", (CONSENT,), "Consent study"),
    ("begun", (DAILY,), "drugs"),
    ("begun_since", (DAILY, TOLD), "drugs answers"),
    ("first_level", (LEVEL,), "obs"),
    ("either", (TOLD, BIOPSY), "answers Procedure"),
    ("earlier", (TOLD, DAILY), "answers drugs"),
]
RECORDS = [
    ("{event: kidney_biopsy, presence: any}", (BIOPSY,), "met", ""),
    ("{event: kidney_biopsy, presence: any, if_none: absent}", (), "not_met", "Procedure"),
    ("{event: research_consent, if_none: absent}", (), "not_met", "Consent study"),
    ("{event: adverse_event, if_none: absent}", (), "not_met", "AdverseEvent study"),
    ("{event: kidney_biopsy, presence: any, from: told}", (BIOPSY, TOLD), "met", "answers"),
    ("{exposure: {drug: tacrolimus}}", (DAILY,), "met", ""),
    # an order counts as taken only as long as nothing shows how it was filled
    ("{exposure: {drug: tacrolimus}}", (ORDER,), "met", "supply"),
    ("{exposure: {drug: tacrolimus}, if_none: absent}", (), "not_met", "drugs"),
    ("{dose: {drug: tacrolimus}, at_most: 5 mg/d}", (DAILY,), "met", "drugs"),
    (
        "{dose: {drug: tacrolimus, weight: weight}, at_most: 0.1 mg/kg/d}",
        (DAILY, lab("weight", "80", "2019-05-01", unit="kg")),
        "met",
        "drugs obs beside",
    ),
    ("{arm: A}", (ON_STUDY,), "met", "study"),
    ("{attested: can-comply, is: true}", (said("can-comply", "true"),), "met", "answers"),
    ("{elapsed: {since: told, until: screening, more_than: 1 month}}", (TOLD,), "met", "answers"),
    ("{date: told, before: screening}", (TOLD,), "met", "answers"),
    ("{date: first_level, before: screening}", (LEVEL,), "met", "obs beside"),
    ("{date: high_since, before: screening}", (NINE, TOLD), "met", "obs beside answers"),
    # who somebody is comes with the person
    ("{age: {at: screening, at_least: 18 years}}", (), "met", ""),
    ("{sex: male}", (), "met", ""),
]
TABLE = [
    *READINGS,
    *(
        (f"{{{PROTEIN}, take: any, from: {day}, {HIGH}}}", (NINE, *rows), "met", f"beside {needed}")
        for day, rows, needed in DAYS
    ),
    *RECORDS,
]
"""Condition, rows, verdict by the whole record, types of which nothing may be missing."""


@pytest.mark.parametrize(("condition", "rows", "whole", "needed"), TABLE, ids=[line[0] for line in TABLE])
def test_what_may_be_lost(
    tmp_path: Path, condition: str, rows: tuple[Row, ...], whole: str, needed: str
) -> None:
    rule = read(tmp_path, condition)
    before = judged(rule, *rows)
    assert (before.verdict.value, "PARTIAL_RECORD" in before.flags) == (whole, False)
    found = {}
    for kind in EVERY:
        result = judged(rule, *rows, Coverage(kind, False, reason="HTTP 500"))
        if result.verdict is Verdict.UNKNOWN:
            assert "PARTIAL_RECORD" in result.flags, kind
            assert result.settles[0] == f"the {kind} records that were asked for and did not come (HTTP 500)"
            assert [one.verdict.value for one in result.alternatives] == [whole], "what came would say"
        else:
            assert result == before, kind
        found[kind] = result.verdict.value
    assert {kind for kind in EVERY if found[kind] == "unknown"} == types(needed)


def test_the_days_of_a_visit_are_counted_from_day_zero(tmp_path: Path) -> None:
    """Which a person told."""
    first = DayIs(moment=Moment(anchor="visit_first"), relation="before", other=Moment(anchor="screening"))
    rule = read(tmp_path, "{sex: male}")
    assert reach_of(rule).of(first) == (set(), types("answers"))
    unplanned = replace(rule, plan=replace(rule.plan, day_zero=""))
    assert reach_of(unplanned).of(first) == (set(), set()), "no day of a visit is known then"


LATEST = f"{{{PROTEIN}, {HIGH}}}"


def test_what_was_lost_is_named_with_its_reasons(tmp_path: Path) -> None:
    lost = (
        Coverage("Specimen", False),
        Coverage("Observation", False, reason="truncated"),
        Coverage("Observation", False, reason="HTTP 500"),
        Coverage("Observation", False, subject="somebody else", reason="HTTP 403"),
    )
    found = ruled(tmp_path, LATEST, NINE, *lost)
    assert found.settles[:2] == (
        "the Observation records that were asked for and did not come (HTTP 500; truncated)",
        "the Specimen records that were asked for and did not come",
    )
    assert (found.flags, found.distance) == (("PARTIAL_RECORD",), "")
    assert [(item.role, item.compared) for item in found.evidence] == [("used", "9 g/d > 8 g/d")]


def test_what_somebody_else_lost_is_no_matter(tmp_path: Path) -> None:
    other = Coverage("Observation", False, subject="somebody else")
    assert ruled(tmp_path, LATEST, NINE, other).verdict is Verdict.MET
    own = Coverage("Observation", False, subject="p")
    assert ruled(tmp_path, LATEST, NINE, own).verdict is Verdict.UNKNOWN


# Only less was asked for: the latest of it decides, flagged. What is unknown anyway needs no flag.
LIMITED = [
    (LATEST, (NINE,), "Observation", "met LIMITED_SCOPE"),
    (LATEST, (protein("8", "2019-05-10"),), "Observation", "not_met BOUNDARY LIMITED_SCOPE"),
    (LATEST, (), "Observation", "unknown"),
    (LATEST, (NINE,), "Specimen", "met"),
    (f"{{{PROTEIN}, take: any, from: told, {HIGH}}}", (NINE, TOLD), "QuestionnaireResponse", "met"),
    ("{event: kidney_biopsy, presence: any}", (BIOPSY,), "Procedure", "met"),
    ("{exposure: {drug: tacrolimus}}", (DAILY,), "MedicationStatement", "met"),
    ("{dose: {drug: tacrolimus}, at_most: 5 mg/d}", (DAILY,), "MedicationDispense", "met LIMITED_SCOPE"),
]


@pytest.mark.parametrize(("condition", "rows", "kind", "expected"), LIMITED)
def test_where_less_was_asked_for(
    tmp_path: Path, condition: str, rows: tuple[Row, ...], kind: str, expected: str
) -> None:
    found = ruled(tmp_path, condition, *rows, Coverage(kind, False, limited=True))
    assert " ".join((found.verdict.value, *found.flags)) == expected


# --- ladders ------------------------------------------------------------------------------------------------

# X8 goes by eGFR, levels and orders; X9 by enzymes, orders and the days that a person tells.
# The day of entry is known.
LADDERS = {"X8": "obs beside drugs", "X9": "obs beside drugs answers"}


@pytest.mark.parametrize("name", LADDERS)
def test_what_a_ladder_climbs_by(name: str) -> None:
    rows = (gfr("97.2", -6), gfr("97", 20), tablets("4", 0), enzyme("alt", "20", 20))
    rows += (answered("liver-protection-start", 20),)
    needed = set()
    for kind in EVERY:
        lost = Coverage(kind, False, reason="HTTP 500")
        known = facts(*rows, lost)
        as_of = R.replace(month=7)
        seen = Context(enrolled(), known, as_of=as_of, zone=ZONE, find_day=find_day, decide=decide)
        state = climb(ladders()[name], seen)
        if "PARTIAL_RECORD" in state.flags:
            needed.add(kind)
            assert verdict(state) is Verdict.UNKNOWN
            assert state.settles == (f"the {kind} records that were asked for and did not come (HTTP 500)",)
        else:
            assert (verdict(state), state.settles) == (Verdict.NOT_MET, ())
    assert needed == types(LADDERS[name])


HEAD_OF_LADDERS = """\
measures:
  liver: {multiple: {finding: [alt, ast]}, of: upper_limit}
ladders:
  - id: T
    text: made up
"""
MADE_UP = """\
    measure: liver
    %s
    states:
      - {id: A, name: a, next: [{to: B, above: 2 x}]}
      - id: B
        name: b
        %s
        next: [{to: C, above: 5 x}]
      - {id: C, name: c, terminal: true}
"""
WORDS = {
    "a measure alone": ("", "", "obs beside"),
    "for whom it is": ("when: {attested: can-comply, is: true}", "", "obs beside answers"),
    "a day that a person tells": ("", "days: {begun: {attested: begun}}", "obs beside answers"),
    "the first day of a drug": ("", "days: {begun: {exposure: {drug: tacrolimus}}}", "obs beside drugs"),
    "a dose": ("dose: {drug: tacrolimus, minimum: none}", "", "obs beside drugs"),
    "the day that it begins on": ("start: told", "", "obs beside answers"),
}


@pytest.mark.parametrize("name", WORDS)
def test_which_words_of_a_ladder_ask_for_which_records(name: str, tmp_path: Path) -> None:
    top, state, needed = WORDS[name]
    (tmp_path / "ladders.yaml").write_text(HEAD_OF_LADDERS + MADE_UP % (top, state), encoding="utf-8")
    rule = read(tmp_path, "{sex: male}")
    [ladder] = load_ladders(tmp_path, words(), rule)
    assert reach_of(rule).of_ladder(ladder) == types(needed)
