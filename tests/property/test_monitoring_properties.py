"""What must hold of everything that is watched after entry, whatever the facts are."""

from __future__ import annotations

import random
from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.model.coverage import Coverage
from adapter.model.monitoring import Monitoring
from adapter.model.wire import decode, encode
from adapter.protocol import monitor
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.protocol_words import P0, ZONE, Row, changed, facts, had, lab, protocol, took

ENTRY = date(2019, 6, 3)
LAST = ENTRY + timedelta(days=400)
DAYS = st.dates(ENTRY - timedelta(days=30), LAST).map(str)
ON_STUDY = had(
    "research_subject",
    str(ENTRY),
    attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TACPRED")),
)
VALUES = st.decimals("0.1", 20, places=1).map(str)
ROWS: st.SearchStrategy[Row] = st.one_of(
    st.builds(lambda value, on: lab("urine_protein_24h", value, on), VALUES, DAYS),
    st.builds(lambda value, on: lab("alt", value, on, limit=4), VALUES, DAYS),
    st.builds(lambda value, on: lab("tacrolimus_trough", value, on), VALUES, DAYS),
    st.builds(lambda value, on: lab("weight", f"{value}0", on, unit="kg"), VALUES, DAYS),
    st.builds(
        lambda drug, on, days, daily: took(
            drug,
            on,
            str(date.fromisoformat(on) + timedelta(days=days)),
            kind="order",
            dose_unit="mg",
            daily_dose=Fraction(daily),
        ),
        st.sampled_from(["tacrolimus", "prednisone"]),
        DAYS,
        st.integers(0, 120),
        VALUES,
    ),
    st.sampled_from([Coverage(name, True) for name in MEDICATION_TYPES]),
)
HISTORIES = st.lists(ROWS, max_size=12)


def watched(rows: list[Row], as_of: date) -> Monitoring:
    return monitor(protocol(), facts(*changed(P0), ON_STUDY, *rows), as_of=as_of, zone=ZONE)


@settings(max_examples=15, deadline=None)
@given(HISTORIES, st.randoms(use_true_random=False))
def test_the_order_of_the_facts_never_shows(rows: list[Row], shuffle: random.Random) -> None:
    mixed = list(rows)
    shuffle.shuffle(mixed)
    assert encode(watched(mixed, LAST)) == encode(watched(rows, LAST))


@settings(max_examples=15, deadline=None)
@given(HISTORIES, st.integers(0, 399))
def test_what_is_dated_after_the_day_is_not_seen(rows: list[Row], days: int) -> None:
    day = ENTRY + timedelta(days=days)
    known = [row for row in rows if isinstance(row, Coverage) or str(row.start.first) <= str(day)]  # type: ignore[union-attr]
    assert encode(watched(rows, day)) == encode(watched(known, day))


@settings(max_examples=15, deadline=None)
@given(HISTORIES)
def test_complete_and_partial_exclude_each_other_and_agree_with_the_visit(rows: list[Row]) -> None:
    found = watched(rows, LAST)
    verdicts = {result.id: result.verdict.value for result in found.endpoints}
    [week48] = [visit.response for visit in found.visits if visit.visit == "W48"]
    assert (verdicts["O1"] == "met") == (week48 == "complete")
    assert (verdicts["O2"] == "met") == (week48 == "partial")
    assert verdicts["PR_KDIGO"] != "met" or verdicts["O2"] == "met"


@settings(max_examples=5, deadline=None)
@given(HISTORIES)
def test_it_survives_the_disk(rows: list[Row]) -> None:
    found = watched(rows, LAST)
    assert decode(encode(found), Monitoring) == found
