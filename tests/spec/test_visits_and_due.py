"""What is planned after entry, when it is due, when it counts as done, and the times to what was seen.

Day 0 is 2019-06-03. All days are counted by hand: day 21 is 24 June, day 28 is 1 July, day 35 is 8 July.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import msgspec
import pytest

from adapter.model.coverage import Coverage
from adapter.model.facts import Event, Facts, Subject
from adapter.model.monitoring import Monitoring
from adapter.protocol import load, monitor
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.ladder_words import gfr, ladders
from tests.spec.protocol_words import ZONE, Row, facts, had, lab, said, took, vocabulary, when
from tests.spec.protocol_words import protocol as house

TRIAL = """\
id: TRIAL-1
version: "1"
title: A trial
study:
  arms:
    - {code: A, title: Arm A, aliases: [mono]}
    - {code: B, title: Arm B}
anchors:
  screening: {as_of: true}
  entry: {event: research_subject, take: earliest}
  biopsy: {event: kidney_biopsy, take: latest}
readings:
  protein: {finding: urine_protein_24h, take: nearest, near: visit, from: visit_first, to: visit_last}
  before: {finding: urine_protein_24h, take: latest, to: entry}
visits:
  - {id: SCR, name: Screening, day: -14, from: -28, to: -1, source: page 1}
  - {id: W4, name: Week 4, day: 28, from: 21, to: 35, reading: protein, source: page 2}
monitoring:
  day_zero: entry
  response:
    - complete: {reading: protein, below: 0.3 g/d}
      because: below 0.3
    - partial: {fall: {from: before, to: protein}, above: 50 %}
      because: fell by more than half
      alternatives:
        - name: not_nephrotic
          reading: nephrotic urine protein is no remission
          met_when:
            all:
              - {fall: {from: before, to: protein}, above: 50 %}
              - {reading: protein, below: 3.5 g/d}
    - none: {fall: {from: before, to: protein}, at_most: 50 %}
      because: did not fall by half
  endpoints:
    - {id: RULE, text: t, source: s, met_when: RULED}
    - {id: AT_W4, text: t, source: s, visit: W4, met_when: RULED}
  due:
    - {id: TAPER, what: first step down, day: 56, from: 56, to: 84, when: {arm: B}}
    - {id: WOUND, what: look at the wound, after: biopsy, day: 10, from: 8, to: 14, source: page 4,
       done_when: {finding: albumin, from: biopsy, exists: true}}
    - {id: CALL, what: a call, day: 7, from: 5, to: 9, source: page 3}
criteria:
  - {id: INCL01, kind: inclusion, text: t, source: s, met_when: {finding: albumin, below: 30 g/L}}
  - {id: INCL02, kind: inclusion, text: t, source: s, met_when: {sex: male}}
"""
COVERED = tuple(Coverage(name, True) for name in MEDICATION_TYPES)
MALE = "{sex: male}"


def on_study(arm: str = "Arm A", start: str = "2019-06-03", study: str = "ResearchStudy/TRIAL-1") -> Event:
    told = (("study", study), ("assigned_arm", arm))
    row = had("research_subject", start, attributes=told)
    return msgspec.structs.replace(row, source=msgspec.structs.replace(row.source, path=f"{arm} {start}"))


ENTRY = on_study()


def followed(
    folder: Path,
    *rows: Row,
    rule: str = MALE,
    as_of: str = "2019-09-01",
    entry: Event | None = ENTRY,
    trial: str = TRIAL,
) -> Monitoring:
    (folder / "protocol.yaml").write_text(trial.replace("RULED", rule), encoding="utf-8")
    person = facts(*(() if entry is None else (entry,)), *rows)
    return monitor(load(folder, vocabulary()), person, as_of=date.fromisoformat(as_of), zone=ZONE)


def protein(value: str, on: str) -> Row:
    return lab("urine_protein_24h", value, on)


def plan(found: Monitoring) -> list[str]:
    return [
        f"{one.id} {one.what}: {one.target}, {one.first} to {one.last}, {one.status} ({one.source})"
        for one in found.due
    ]


def test_what_is_planned_with_its_days_and_where_it_is_written(tmp_path: Path) -> None:
    """The wound is looked at from day 8 to 14 after the biopsy of 20 June; arm A has nothing to taper."""
    biopsy = had("kidney_biopsy", "2019-06-20", "2019-06-20", presence="past")
    assert plan(followed(tmp_path, biopsy, as_of="2019-06-28")) == [
        "SCR Screening: 2019-05-20, 2019-05-06 to 2019-06-02, overdue (page 1)",
        "W4 Week 4: 2019-07-01, 2019-06-24 to 2019-07-08, due (page 2)",
        "WOUND look at the wound: 2019-06-30, 2019-06-28 to 2019-07-04, due (page 4)",
        "CALL a call: 2019-06-10, 2019-06-08 to 2019-06-12, overdue (page 3)",
    ]


def test_what_counts_from_a_day_that_is_not_known_is_not_planned(tmp_path: Path) -> None:
    assert [one.id for one in followed(tmp_path).due] == ["SCR", "W4", "CALL"]
    of_arm_b = followed(tmp_path, entry=on_study("Arm B")).due
    assert [one.id for one in of_arm_b] == ["SCR", "W4", "TAPER", "CALL"]


@pytest.mark.parametrize(
    ("as_of", "rows", "status"),
    [
        ("2019-06-23", (), "upcoming"),
        ("2019-06-24", (), "due"),
        ("2019-07-08", (), "due"),
        ("2019-07-09", (), "overdue"),
        ("2019-06-24", (protein("5", "2019-06-24"),), "done"),
        ("2019-07-09", (protein("5", "2019-07-08"),), "done"),
        ("2019-07-09", (protein("5", "2019-06-23"),), "overdue"),  # a day too early
        ("2019-07-10", (protein("5", "2019-07-09"),), "overdue"),  # a day too late
    ],
)
def test_a_visit_is_done_when_what_it_is_for_was_measured_in_its_window(
    tmp_path: Path, as_of: str, rows: tuple[Row, ...], status: str
) -> None:
    found = {one.id: one.status for one in followed(tmp_path, *rows, as_of=as_of).due}
    assert found["W4"] == status


def test_a_step_is_done_when_its_rule_says_so(tmp_path: Path) -> None:
    biopsy = had("kidney_biopsy", "2019-06-20", "2019-06-20", presence="past")
    seen = followed(tmp_path, biopsy, lab("albumin", "30", "2019-06-25"))
    assert next(one.status for one in seen.due if one.id == "WOUND") == "done"
    not_yet = followed(tmp_path, biopsy, lab("albumin", "30", "2019-06-19"))
    assert next(one.status for one in not_yet.due if one.id == "WOUND") == "overdue"


@pytest.mark.parametrize(
    ("end", "rows", "expected"),
    [
        # week 4 begins on 24 June
        ("2019-06-24", (), ["SCR", "W4", "CALL"]),
        ("2019-06-23", (), ["SCR", "CALL"]),
        ("2019-06-23", (protein("5", "2019-06-25"),), ["SCR", "W4", "CALL"]),  # it was done nevertheless
        ("", (), ["SCR", "W4", "CALL"]),
    ],
)
def test_nothing_is_planned_that_would_begin_after_the_end(
    tmp_path: Path, end: str, rows: tuple[Row, ...], expected: list[str]
) -> None:
    until = TRIAL.replace("  day_zero: entry\n", "  day_zero: entry\n  until: left\n")
    trial = until.replace(
        "  biopsy: {event", "  left: {event: research_subject, take: latest, edge: end}\n  biopsy: {event"
    )
    left = msgspec.structs.replace(ENTRY, end=when(end) if end else None)
    assert [one.id for one in followed(tmp_path, *rows, trial=trial, entry=left).due] == expected


@pytest.mark.parametrize(
    ("as_of", "rows", "said"),
    [
        # halved on 1 July; to be seen again 14 days later, give or take 3 days
        (date(2019, 7, 11), (), "S1 2019-07-15, 2019-07-12 to 2019-07-18, upcoming, not_met"),
        (date(2019, 7, 12), (), "S1 2019-07-15, 2019-07-12 to 2019-07-18, due, not_met"),
        (date(2019, 7, 18), (), "S1 2019-07-15, 2019-07-12 to 2019-07-18, due, not_met"),
        # nobody looked: whether the drug should have been stopped is open
        (date(2019, 8, 1), (), "S1 2019-07-15, 2019-07-12 to 2019-07-18, overdue, unknown"),
        # halved again on 15 July, stopped on 29 July: nothing is due any more
        (date(2019, 7, 29), (gfr("59", 42),), "S2 2019-07-29, 2019-07-26 to 2019-08-01, due, not_met"),
        (date(2019, 8, 1), (gfr("59", 42), gfr("58", 56)), "met"),
    ],
)
def test_the_review_of_a_ladder_is_due(as_of: date, rows: tuple[Row, ...], said: str) -> None:
    """60 of 97 is a fall of 38 %: by X8 the dose is halved, and the eGFR seen again; see ladders.yaml."""
    enrolled = msgspec.structs.replace(
        ENTRY, attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TAC"))
    )
    person = facts(enrolled, gfr("97", -6), gfr("60", 28), *rows)
    found = monitor(house(), person, as_of=as_of, zone=ZONE, ladders=(ladders()["X8"],))
    due = [one for one in found.due if one.id == "X8"]
    shown = "".join(
        f"{one.what.removeprefix('review or next step of X8 in state ')} "
        f"{one.target}, {one.first} to {one.last}, {one.status}, "
        for one in due
    )
    assert shown + next(one.verdict.value for one in found.exits if one.id == "X8") == said


def test_at_its_end_a_ladder_has_no_review() -> None:
    """Stopped on 29 July: even a review that its last state asks for is not due any more."""
    x8 = ladders()["X8"]
    [review] = [state.review for state in x8.states if state.id == "S1"]
    states = tuple(
        msgspec.structs.replace(state, review=review) if state.terminal else state for state in x8.states
    )
    enrolled = msgspec.structs.replace(
        ENTRY, attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TAC"))
    )
    person = facts(enrolled, gfr("97", -6), gfr("60", 28), gfr("59", 42), gfr("58", 56))
    climbing = (msgspec.structs.replace(x8, states=states),)
    found = monitor(house(), person, as_of=date(2019, 8, 1), zone=ZONE, ladders=climbing)
    assert [(state.state, state.review_first) for state in found.ladders] == [("S3", date(2019, 8, 9))]
    assert [one.id for one in found.due if one.id == "X8"] == []


# --- the response at a visit, and the days to it --------------------------------------------------


BEFORE = protein("8", "2019-05-20")


@pytest.mark.parametrize(
    ("rows", "response", "reason", "days"),
    [
        # complete at once is also the first remission; the first and the last day of the window count
        ((BEFORE, protein("0.2", "2019-06-24")), "complete", "below 0.3",
         {"complete_remission": 21, "remission": 21}),
        ((BEFORE, protein("0.2", "2019-07-08")), "complete", "below 0.3",
         {"complete_remission": 35, "remission": 35}),
        ((BEFORE, protein("2", "2019-07-01")), "partial", "fell by more than half", {"remission": 28}),
        # 8 -> 3.9 fell by 51 %, and is nephrotic still: the stricter reading has no line for it
        ((BEFORE, protein("3.9", "2019-07-01")), "partial", "fell by more than half", {"remission": 28}),
        ((BEFORE, protein("4", "2019-07-01")), "none", "did not fall by half", {}),
    ],
)  # fmt: skip
def test_the_response_with_its_reason_and_the_days_to_it(
    tmp_path: Path, rows: tuple[Row, ...], response: str, reason: str, days: dict[str, int]
) -> None:
    found = followed(tmp_path, *rows)
    visit = found.visits[1]
    assert (visit.visit, visit.name) == ("W4", "Week 4")
    assert (visit.response, visit.reason, visit.flags) == (response, reason, ())
    assert dict(found.days_to) == days


@pytest.mark.parametrize(
    ("after", "stricter"),
    [("2", "partial"), ("3.9", "unknown"), ("4", "none"), ("0.2", "complete")],
)
def test_another_reading_of_a_line_stands_in_its_place(tmp_path: Path, after: str, stricter: str) -> None:
    """Read strictly, 8 -> 3.9 is neither partial remission (nephrotic) nor none (fell by more than half)."""
    [other] = followed(tmp_path, BEFORE, protein(after, "2019-07-01")).visits[1].alternatives
    assert (other.name, other.reading) == ("not_nephrotic", "nephrotic urine protein is no remission")
    assert other.response == stricter


def test_a_response_nobody_can_tell_says_what_is_missing(tmp_path: Path) -> None:
    visit = followed(tmp_path).visits[1]
    assert visit.response == "unknown"
    assert visit.reason == (
        "not known: a usable reading of Protein in 24-hour urine, collected 2019-06-24 to 2019-07-08; "
        "a usable reading of Protein in 24-hour urine, collected up to 2019-06-03"
    )


def test_a_reading_with_its_time_of_day(tmp_path: Path) -> None:
    found = followed(tmp_path, BEFORE, protein("0.2", "2019-07-01T08:30:00+08:00"))
    assert dict(found.days_to) == {"complete_remission": 28, "remission": 28}


def test_no_time_is_told_to_what_rests_on_nothing_of_the_window(tmp_path: Path) -> None:
    """A response that a record from before entry decides has no day of its own."""
    line = "  response:\n    - complete: {event: hepatitis_b, timing: onset}\n"
    trial = TRIAL[: TRIAL.index("  response:")] + line + TRIAL[TRIAL.index("  endpoints:") :]
    found = followed(tmp_path, had("hepatitis_b", "2019-05-01"), trial=trial)
    assert [visit.response for visit in found.visits] == ["complete", "complete"]
    assert found.days_to == ()


def test_every_block_is_told_under_its_own_name(tmp_path: Path) -> None:
    blocks = ("exits", "doses", "safety", "deviations")
    more = "".join(
        f"  {name}:\n    - {{id: {name.upper()}, text: t, source: s, met_when: {{sex: male}}}}\n"
        for name in blocks
    )
    found = followed(tmp_path, trial=TRIAL.replace("  due:\n", f"{more}  due:\n"))
    assert [one.id for one in found.endpoints] == ["RULE", "AT_W4"]
    for name in blocks:
        assert [(one.id, one.verdict.value) for one in getattr(found, name)] == [(name.upper(), "met")]


# --- who is monitored, and by what ----------------------------------------------------------------


def test_one_person_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "protocol.yaml").write_text(TRIAL.replace("RULED", MALE), encoding="utf-8")
    one = facts(ENTRY)
    [person] = one.subjects
    other = Subject("q", person.source, "male", None)
    for subjects in ((), (person, other)):
        several = Facts(subjects=subjects, findings=(), events=(), interventions=(), coverage=())
        with pytest.raises(ValueError, match=f"exactly one subject are needed, not {len(subjects)}"):
            monitor(load(tmp_path, vocabulary()), several, as_of=date(2019, 9, 1), zone=ZONE)


def test_nobody_is_monitored_whose_entry_is_known_to_the_month(tmp_path: Path) -> None:
    found = followed(tmp_path, entry=on_study(start="2019-06"))
    assert (found.randomised, found.arm, found.visits, found.due) == (None, "", (), ())


def test_an_arm_of_tomorrow_is_not_seen_today(tmp_path: Path) -> None:
    later = on_study("Arm B", start="2019-07-02")
    assert followed(tmp_path, later, as_of="2019-07-01").arm == "A"
    assert followed(tmp_path, later, as_of="2019-07-02").arm == ""  # two arms: nobody knows which


def test_a_drug_of_tomorrow_is_no_record_today(tmp_path: Path) -> None:
    """From 3 June to 30 June are 28 days without the drug, if anything at all is known of it."""
    gap = "{gap: {drug: tacrolimus, from: entry}, above: 14 days}"
    tomorrow = took("tacrolimus", "2019-07-01")

    def told(as_of: str) -> tuple[str, tuple[str, ...]]:
        rule = followed(tmp_path, tomorrow, *COVERED, rule=gap, as_of=as_of).endpoints[0]
        return rule.verdict.value, rule.settles

    assert told("2019-06-30") == ("unknown", ("records of tacrolimus, 2019-06-03 to 2019-06-30",))
    assert told("2019-07-01") == ("met", ())


def test_nothing_from_after_the_day_is_seen() -> None:
    """Readings, answers, drugs and events of 2 July change nothing of what is said as of 1 July."""
    enrolled = msgspec.structs.replace(
        ENTRY, attributes=(("study_identifier", "NCT03864250"), ("assigned_arm", "TAC"))
    )
    known = (enrolled, gfr("97", -6), gfr("90", 20), took("tacrolimus", "2019-06-03"))
    tomorrow = (
        gfr("40", 29),
        protein("9", "2019-07-02"),
        lab("tacrolimus_trough", "15", "2019-07-02", unit="ng/mL"),
        said("study-stopped", "true", "2019-07-02"),
        said("poor-compliance", "true", "2019-07-02"),
        took("prednisone", "2019-07-02"),
        had("pregnancy", "2019-07-02"),
    )
    steps = tuple(ladders().values())

    def seen(*rows: Row) -> Monitoring:
        return monitor(house(), facts(*rows), as_of=date(2019, 7, 1), zone=ZONE, ladders=steps)

    assert seen(*known, *tomorrow) == seen(*known)


def test_the_fingerprint_tells_two_assessments_apart(tmp_path: Path) -> None:
    rows = (BEFORE, protein("2", "2019-07-01"))
    corrected = msgspec.structs.replace(
        rows[1], source=msgspec.structs.replace(rows[1].source, version="2"), start=when("2019-07-02")
    )
    first = followed(tmp_path, *rows).fingerprint
    assert first == followed(tmp_path, *reversed(rows)).fingerprint
    others = [
        followed(tmp_path, BEFORE, corrected).fingerprint,  # the response is the same, its record is not
        followed(tmp_path, BEFORE, protein("0.2", "2019-07-01")).fingerprint,  # another response
        followed(tmp_path, *rows, as_of="2019-09-02").fingerprint,
        followed(tmp_path, *rows, entry=on_study("Arm B")).fingerprint,
        followed(tmp_path, *rows, rule="{sex: female}").fingerprint,  # another verdict
        followed(tmp_path, entry=None).fingerprint,
    ]
    assert len({first, *others}) == 7
    assert all(first for first in others)


def test_the_fingerprint_is_of_a_person_and_a_protocol(tmp_path: Path) -> None:
    def seen(trial: str, **changed: str) -> str:
        (tmp_path / "protocol.yaml").write_text(trial.replace("RULED", MALE), encoding="utf-8")
        person = facts(ENTRY)
        [subject] = person.subjects
        person = msgspec.structs.replace(person, subjects=(msgspec.structs.replace(subject, **changed),))
        protocol = load(tmp_path, vocabulary())
        return monitor(protocol, person, as_of=date(2019, 9, 1), zone=ZONE).fingerprint

    newer = TRIAL.replace('version: "1"', 'version: "2"')
    other = TRIAL.replace("id: TRIAL-1", "id: TRIAL-2").replace("  arms:", "  identifier: TRIAL-1\n  arms:")
    assert len({seen(TRIAL), seen(TRIAL, id="q"), seen(newer), seen(other)}) == 4
