"""What must hold of every decision, whatever the facts are."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.decision import Decision, Verdict
from adapter.model.facts import Facts
from adapter.model.kleene import Truth
from adapter.model.quantity import Interval
from adapter.model.wire import decode, encode
from adapter.protocol import evaluate
from adapter.protocol.changes import relative_change
from adapter.protocol.judge import compare_intervals
from adapter.protocol.readings import TROUBLES
from tests.spec.protocol_words import (
    P0,
    P18,
    SCREENING,
    ZONE,
    Row,
    changed,
    facts,
    had,
    judged,
    lab,
    protocol,
    said,
    took,
)

DAYS = st.dates(SCREENING.replace(year=2018), SCREENING).map(str)
PARTIAL = st.one_of(DAYS, DAYS.map(lambda day: day[:7]), DAYS.map(lambda day: day[:4]))
NUMBERS = st.tuples(st.sampled_from(["", "", "", "<", ">", "<=", ">="]), st.decimals(1, 60, places=1)).map(
    lambda pair: f"{pair[0]}{pair[1]}"
)
MEASURED = st.sampled_from(["urine_protein_24h", "albumin", "pla2r_antibody", "alt", "egfr"])
ANSWERED = st.sampled_from(["hbsag", "hbcab", "hiv_screen", "igra", "cmv_dna", "syphilis_treponemal"])
EVENTS = st.sampled_from(["pulmonary_embolism", "acute_kidney_injury", "hepatitis_b", "malignant_neoplasm"])
DRUGS = st.sampled_from(["prednisone", "tacrolimus", "rituximab", "hydroxychloroquine", "human_albumin"])

ROWS: st.SearchStrategy[Row] = st.one_of(
    st.builds(lambda concept, value, on: lab(concept, value, on, limit=20), MEASURED, NUMBERS, PARTIAL),
    st.builds(lab, ANSWERED, st.sampled_from(["+", "-", "?"]), PARTIAL),
    st.builds(
        lambda concept, on, presence: had(concept, on, presence=presence),
        EVENTS,
        PARTIAL,
        st.sampled_from(["present", "past", "unconfirmed", "refuted"]),
    ),
    st.builds(lambda drug, on: took(drug, on, on), DRUGS, DAYS),
    st.builds(said, st.sampled_from(["idiopathic", "can-comply"]), st.sampled_from(["true", "false"]), DAYS),
    st.just(Coverage("Condition", True)),
)
PEOPLE = st.builds(
    lambda base, left_out, extra: [
        *(row for name, row in sorted(base.items()) if name not in left_out),
        *extra,
    ],
    st.sampled_from([P0, P18]),
    st.sets(st.sampled_from(sorted(P0)), max_size=6),
    st.lists(ROWS, max_size=6),
)


def verdicts(decision: Decision) -> dict[str, Verdict]:
    return {result.id: result.verdict for top in decision.criteria for result in top.walk()}


@settings(max_examples=60, deadline=None)
@given(PEOPLE, st.randoms(use_true_random=False))
def test_the_order_of_the_facts_never_shows(rows: list[Row], shuffle: random.Random) -> None:
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert encode(judged(*mixed)) == encode(judged(*rows))


@settings(max_examples=60, deadline=None)
@given(PEOPLE)
def test_no_verdict_without_evidence(rows: list[Row]) -> None:
    for top in judged(*rows).criteria:
        for result in top.walk():
            used = [item for item in result.evidence if item.role == "used"]
            if result.verdict is Verdict.UNKNOWN:
                assert result.settles or result.review, f"{result.id} is unknown and says nothing more"
            else:
                assert used, f"{result.id} is {result.verdict.value} on no evidence"


@settings(max_examples=60, deadline=None)
@given(PEOPLE, MEASURED, NUMBERS, DAYS, st.sampled_from(sorted(TROUBLES)))
def test_a_reading_nobody_can_rely_on_never_turns_one_verdict_into_the_other(
    rows: list[Row], concept: str, value: str, on: str, trouble: str
) -> None:
    before = verdicts(judged(*rows))
    after = verdicts(judged(*rows, lab(concept, value, on, excluded=trouble)))
    for name, verdict in before.items():
        assert {verdict, after[name]} != {Verdict.MET, Verdict.NOT_MET}, name


@settings(max_examples=40, deadline=None)
@given(PEOPLE, EVENTS, PARTIAL)
def test_a_diagnosis_that_is_not_confirmed_never_turns_one_verdict_into_the_other(
    rows: list[Row], concept: str, on: str
) -> None:
    before = verdicts(judged(*rows))
    after = verdicts(judged(*rows, had(concept, on, presence="unconfirmed")))
    for name, verdict in before.items():
        assert {verdict, after[name]} != {Verdict.MET, Verdict.NOT_MET}, name


@settings(max_examples=40, deadline=None)
@given(PEOPLE)
def test_rows_that_say_nothing_change_no_verdict(rows: list[Row]) -> None:
    silent = [
        replace(row, excluded="ENTERED_IN_ERROR")
        for row in changed({**P0, "drug": took("prednisone", "2019-05-01")})
        if not isinstance(row, Coverage)
    ]
    assert verdicts(judged(*rows, *silent)) == verdicts(judged(*rows))


@settings(max_examples=30, deadline=None)
@given(PEOPLE)
def test_facts_and_decisions_survive_the_wire(rows: list[Row]) -> None:
    stored = decode(encode(facts(*rows)), Facts)
    decision = evaluate(protocol(), stored, as_of=SCREENING, zone=ZONE)
    assert decision == judged(*rows)
    assert decode(encode(decision), Decision) == decision


@settings(max_examples=30, deadline=None)
@given(PEOPLE)
def test_the_overall_verdict_follows_from_what_counts(rows: list[Row]) -> None:
    decision = judged(*rows)
    counted = [decision.criterion(name) for name in protocol().counts]
    failed = {("inclusion", Verdict.NOT_MET), ("exclusion", Verdict.MET)}
    if any((result.kind, result.verdict) in failed for result in counted):
        assert decision.overall.value == "ineligible"
    elif any(result.verdict is Verdict.UNKNOWN for result in counted):
        assert decision.overall.value == "undetermined"
    else:
        assert decision.overall.value == "eligible"


POSITIVE = st.fractions(min_value=1, max_value=200, max_denominator=50)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low = draw(POSITIVE)
    high = low + draw(st.fractions(min_value=0, max_value=50, max_denominator=50))
    return Interval(draw(st.sampled_from([low, None])), draw(st.sampled_from([high, None])))


def inside(interval: Interval, data: st.DataObject) -> object:
    low = interval.low if interval.low is not None else min(POSITIVE_FLOOR, interval.high or POSITIVE_FLOOR)
    high = interval.high if interval.high is not None else low + 100
    return data.draw(st.fractions(min_value=low, max_value=high))


POSITIVE_FLOOR = Interval.exactly(1).low or 0


@given(intervals(), intervals(), st.sampled_from(["fall", "rise"]), st.data())
def test_a_change_between_intervals_holds_every_change_they_allow(
    start: Interval, end: Interval, direction: str, data: st.DataObject
) -> None:
    one, other = inside(start, data), inside(end, data)
    share = (one - other) / one if direction == "fall" else (other - one) / one  # type: ignore[operator]
    assert relative_change(start, end, direction).contains(share)


@given(intervals(), intervals(), st.sampled_from(["above", "at_least", "below", "at_most"]), st.data())
def test_a_known_comparison_of_intervals_holds_for_every_pair(
    value: Interval, threshold: Interval, comparison: str, data: st.DataObject
) -> None:
    found = compare_intervals(value, comparison, threshold)  # type: ignore[arg-type]
    if found is not Truth.UNKNOWN:
        one, other = inside(value, data), inside(threshold, data)
        assert Interval.exactly(one).compare(comparison, other) is found  # type: ignore[arg-type]
