"""Somebody on a study whose results did not all come: what stays open, and what they would say.

The trial is that of ``test_visits_and_due.py``: day 0 is 2019-06-03, week 4 is from 24 June to 8 July. What
was lost may be newer, or older and higher, than what came: no response is told from a part of the results.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from adapter.model.course import GapIs, LadderIs, ResponseIs
from adapter.model.coverage import Coverage
from adapter.model.kleene import Truth
from adapter.model.monitoring import LadderState, LadderStep, ResponseRead
from adapter.model.nodes import Moment, Period
from adapter.protocol import load
from adapter.protocol.anchors import find_day
from adapter.protocol.conditions import outcome_of
from adapter.protocol.context import Context
from adapter.protocol.evaluate import decide
from adapter.protocol.occurrences import MEDICATION_TYPES
from tests.spec.protocol_words import ZONE, Row, facts, lab, protocol, took, vocabulary
from tests.spec.test_visits_and_due import BEFORE, TRIAL, followed, protein

LOST = Coverage("Observation", False, reason="HTTP 500")
MISSING = "the Observation records that were asked for and did not come (HTTP 500)"
AFTER = protein("2", "2019-07-01")  # 8 -> 2 g/d: a partial remission, if nothing else was measured
COVERED = tuple(Coverage(name, True) for name in MEDICATION_TYPES)


def test_the_response_by_a_part_of_the_results_is_shown_but_not_told(tmp_path: Path) -> None:
    found = followed(tmp_path, BEFORE, AFTER, LOST)
    visit = found.visits[1]
    assert (visit.response, visit.flags) == ("unknown", ("PARTIAL_RECORD",))
    assert visit.reason.startswith(f"not known: {MISSING}")
    assert visit.alternatives == (
        ResponseRead("not_nephrotic", "nephrotic urine protein is no remission", "unknown"),
        ResponseRead("PARTIAL_RECORD", "by the records that came, as if they were all", "partial"),
    )
    assert found.days_to == ()
    assert [(one.when, one.role) for one in visit.evidence if one.when == "2019-07-01"] == [
        ("2019-07-01", "used")
    ]


def test_nothing_is_shown_as_if_whole_where_nothing_came(tmp_path: Path) -> None:
    visit = followed(tmp_path, BEFORE, LOST).visits[1]
    assert (visit.response, visit.flags) == ("unknown", ("PARTIAL_RECORD",))
    assert [other.name for other in visit.alternatives] == ["not_nephrotic"]
    assert followed(tmp_path, BEFORE).visits[1].flags == ()


@pytest.mark.parametrize(
    ("states", "rows", "verdict", "flags"),
    [
        ("partial", (BEFORE, AFTER), "met", ()),
        ("partial", (BEFORE, AFTER, LOST), "unknown", ("PARTIAL_RECORD",)),
        ("none", (BEFORE, AFTER, LOST), "unknown", ("PARTIAL_RECORD",)),
        # nobody looked, or what was seen was lost: which of the two is not known
        ("unknown", (BEFORE,), "met", ()),
        ("unknown", (BEFORE, LOST), "unknown", ("PARTIAL_RECORD",)),
    ],
)
def test_a_rule_about_the_response(
    tmp_path: Path, states: str, rows: tuple[Row, ...], verdict: str, flags: tuple[str, ...]
) -> None:
    found = followed(tmp_path, *rows, rule=f"{{response: {states}}}").endpoints[1]
    assert (found.verdict.value, found.flags) == (verdict, flags)
    assert (MISSING in found.settles) is (verdict == "unknown")


BY_EVENT = (
    TRIAL[: TRIAL.index("  response:")]
    + "  response:\n    - complete: {event: hepatitis_b, timing: onset, if_none: absent}\n"
    + TRIAL[TRIAL.index("  endpoints:") :]
)


@pytest.mark.parametrize(
    ("rows", "verdict", "flags", "settles"),
    [
        # no line looks at the window of the visit: that it does not hold says nothing, as nobody looked
        ((), "unknown", (), ()),
        ((LOST,), "unknown", ("PARTIAL_RECORD",), (MISSING,)),
    ],
)
def test_a_response_that_nobody_looked_for(
    tmp_path: Path, rows: tuple[Row, ...], verdict: str, flags: tuple[str, ...], settles: tuple[str, ...]
) -> None:
    found = followed(tmp_path, *rows, rule="{response: complete}", trial=BY_EVENT).endpoints[1]
    assert (found.verdict.value, found.flags, found.settles) == (verdict, flags, settles)


def test_the_response_of_somebody_who_is_on_no_study(tmp_path: Path) -> None:
    """There is no day to count week 4 from, so nobody looked, whatever is on record."""
    (tmp_path / "protocol.yaml").write_text(BY_EVENT.replace("RULED", "{sex: male}"), encoding="utf-8")
    here = Context(
        load(tmp_path, vocabulary()),
        facts(),
        as_of=date(2019, 9, 1),
        zone=ZONE,
        find_day=find_day,
        decide=decide,
    )
    assert outcome_of(ResponseIs(states=("complete",), at="W4"), here).truth is Truth.UNKNOWN


def test_what_would_tell_a_response_that_nobody_looked_for(tmp_path: Path) -> None:
    """The line that is asked for does not hold; another, which needs a reading of the visit, still may."""
    line = "    - partial: {reading: protein, below: 3.5 g/d}\n"
    trial = BY_EVENT.replace("  endpoints:", line + "  endpoints:", 1)
    found = followed(tmp_path, rule="{response: complete}", trial=trial).endpoints[1]
    wanted = "a usable reading of Protein in 24-hour urine, collected 2019-06-24 to 2019-07-08"
    assert (found.verdict.value, found.settles) == ("unknown", (wanted,))


def test_a_remission_seen_before_the_loss_keeps_its_day(tmp_path: Path) -> None:
    """Where any reading below 3.5 g/d will do, one on day 28 is enough; nothing came of week 8."""
    later = "  - {id: W8, name: Week 8, day: 56, from: 49, to: 63, reading: protein}\nmonitoring:"
    line = "  response:\n    - partial: {reading: protein, below: 3.5 g/d}\n"
    trial = TRIAL[: TRIAL.index("  response:")] + line + TRIAL[TRIAL.index("  endpoints:") :]
    trial = trial.replace("monitoring:", later, 1).replace(
        "take: nearest, near: visit, from", "take: any, from", 1
    )
    without_screening = "".join(text for text in trial.splitlines(keepends=True) if "SCR" not in text)
    found = followed(tmp_path, AFTER, LOST, trial=without_screening)
    assert [(one.visit, one.response, one.flags) for one in found.visits] == [
        ("W4", "partial", ()),
        ("W8", "unknown", ("PARTIAL_RECORD",)),
    ]
    assert dict(found.days_to) == {"remission": 28}
    # of a screening visit nothing came either: whether it was the first remission is not known
    assert followed(tmp_path, AFTER, LOST, trial=trial).days_to == ()


@pytest.mark.parametrize(
    ("state", "rows", "verdict", "flags"),
    [
        ("undetermined", (), "met", ()),
        ("undetermined", (LOST,), "unknown", ("PARTIAL_RECORD",)),
        ("eligible", (lab("albumin", "25", "2019-05-20"), LOST), "unknown", ("PARTIAL_RECORD",)),
        ("ineligible", (lab("albumin", "35", "2019-05-20"), LOST), "unknown", ("PARTIAL_RECORD",)),
    ],
)
def test_eligibility_at_entry(
    tmp_path: Path, state: str, rows: tuple[Row, ...], verdict: str, flags: tuple[str, ...]
) -> None:
    found = followed(tmp_path, *rows, rule=f"{{eligibility: {state}, at: entry - 1 day}}").endpoints[1]
    assert (found.verdict.value, found.flags) == (verdict, flags)
    assert (MISSING in found.settles) is (verdict == "unknown")


@pytest.mark.parametrize(
    ("rows", "flags", "truth"),
    [
        ((), (), Truth.FALSE),
        ((), ("PARTIAL_RECORD",), Truth.FALSE),  # all came since
        ((LOST,), (), Truth.FALSE),  # the ladder stands where it stands, whatever was lost
        ((LOST,), ("PARTIAL_RECORD",), Truth.UNKNOWN),
    ],
)
def test_a_gap_is_open_while_the_ladder_that_held_the_drug_is(
    rows: tuple[Row, ...], flags: tuple[str, ...], truth: Truth
) -> None:
    """Held from 1 to 31 July, by results of which a part is lost: perhaps it was never on hold."""
    steps = (
        LadderStep("L0", "L2", date(2019, 7, 1), "high"),
        LadderStep("L2", "L0", date(2019, 7, 31), "low"),
    )
    ladder = LadderState("X9", "L0", steps=steps, flags=flags)
    drug = (took("tacrolimus", "2019-06-03", "2019-06-30"), took("tacrolimus", "2019-08-01"))
    here = Context(
        protocol(),
        facts(*drug, *COVERED, *rows),
        as_of=date(2019, 9, 1),
        zone=ZONE,
        find_day=find_day,
        decide=decide,
        ladders={"X9": ladder},
    )
    gap = GapIs(
        drugs=("tacrolimus",),
        label="tacrolimus",
        period=Period(start=Moment(day=date(2019, 6, 3))),
        days=14,
        holds=(LadderIs(ladder="X9", states=("L2",)),),
    )
    found = outcome_of(gap, here)
    assert found.truth is truth
    assert ("PARTIAL_RECORD" in found.flags, MISSING in found.needs) == (truth is Truth.UNKNOWN,) * 2
    assert {item.source for item in found.evidence} == {row.source for row in drug}
