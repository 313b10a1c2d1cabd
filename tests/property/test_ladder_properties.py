"""What holds of every history: nothing raises, order of arrival never shows, the past does not change."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.model.dates import on_day
from adapter.model.facts import Facts, Finding, Intervention
from adapter.model.ladder import Ladder
from adapter.model.monitoring import LadderState
from adapter.protocol.ladder import climb, moves
from tests.spec.ladder_words import R, answered, climbed, context, enzyme, gfr, ladders, tablets, trough
from tests.spec.protocol_words import Row, lab

DAYS = st.integers(-28, 130)
# Around every limit: 97.2 falls 30 % at 68.04 and 50 % at 48.6; the limit of ALT is 40 and of bilirubin 21.
GFR = st.sampled_from(["97.2", "90", "69", "68.04", "68", "66", "50", "48.6", "40", "<60", ">60", "<70"])
ENZYMES = st.sampled_from(["20", "40", "41", "60", "61", "78", "80", "81", "85", "120", ">70", "<90"])
TROUBLE = st.sampled_from(["", "", "", "", "UNIT_MISSING", "PRELIMINARY", "SUPERSEDED", "ENTERED_IN_ERROR"])
LATE = st.sampled_from([None, 0, 1, 5, 20])


def issued(row: Finding, sampled: int, after: int | None) -> Finding:
    if after is None:
        return row
    return msgspec.structs.replace(row, issued=on_day(R + timedelta(days=sampled + after)))


@st.composite
def filtration(draw: st.DrawFn) -> Row:
    on = draw(DAYS)
    return issued(gfr(draw(GFR), on, excluded=draw(TROUBLE)), on, draw(LATE))


@st.composite
def liver(draw: st.DrawFn) -> Row:
    on = draw(DAYS)
    concept = draw(st.sampled_from(["alt", "ast", "bilirubin_total"]))
    limit = draw(st.sampled_from([40, 40, 40, 0]))
    return issued(enzyme(concept, draw(ENZYMES), on, limit, excluded=draw(TROUBLE)), on, draw(LATE))


@st.composite
def beside(draw: st.DrawFn) -> Row:
    on = draw(DAYS)
    match draw(st.integers(0, 4)):
        case 0:
            return trough(draw(st.sampled_from(["5", "10", "10.1"])), on)
        case 1:
            return tablets(draw(st.sampled_from(["0.5", "1", "4"])), on)
        case 2:
            return lab("creatinine", draw(st.sampled_from(["80", "160", "200"])), R.isoformat())
        case 3:
            return answered("liver-protection-start", on)
    return answered("tacrolimus-hold-start", on)


HISTORIES = st.lists(
    st.one_of(filtration(), liver(), beside()), max_size=14, unique_by=lambda row: row.source
)
CALM = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def both(rows: tuple[Row, ...], on: int) -> list[LadderState]:
    return [climbed(name, *rows, on=on) for name in ladders()]


def day_of(row: Row) -> int:
    when = row.when if isinstance(row, Finding) else cast(Intervention, row).start
    assert when is not None
    return (when.first - R).days


@CALM
@given(HISTORIES.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_the_order_of_arrival_never_shows(pair: tuple[list[Row], list[Row]]) -> None:
    first, second = pair
    assert both(tuple(first), 130) == both(tuple(second), 130)


@CALM
@given(HISTORIES, st.integers(0, 130))
def test_the_past_depends_on_nothing_later(rows: list[Row], on: int) -> None:
    """Seen on a day, later samples change nothing; and later days only add steps to those of that day."""
    known = tuple(row for row in rows if day_of(row) <= on)
    for name in ladders():
        early, late = climbed(name, *known, on=on), climbed(name, *rows, on=130)
        seen_early = msgspec.structs.replace(climbed(name, *rows, on=on), revisions=())
        assert seen_early == msgspec.structs.replace(early, revisions=())
        assert late.steps[: len(early.steps)] == early.steps


@CALM
@given(HISTORIES)
def test_day_by_day_ends_where_one_look_ends(rows: list[Row]) -> None:
    """As each day's records are added the moves made so far stay, and the last look has them all."""
    in_order = sorted(rows, key=lambda row: (day_of(row), row.source))
    for name in ladders():
        seen: tuple[object, ...] = ()
        for on in sorted({max(0, day_of(row)) for row in rows} | {130}):
            state = climbed(name, *(row for row in in_order if day_of(row) <= on), on=on)
            assert moves(state)[: len(seen)] == seen
            seen = moves(state)
        assert state == climbed(name, *rows, on=130)


@CALM
@given(HISTORIES, st.integers(0, 130))
def test_every_history_gives_a_state_whose_steps_hang_together(rows: list[Row], on: int) -> None:
    for name, ladder in ladders().items():
        state = climbed(name, *rows, on=on)
        path = [ladder.start.id, *(step.target for step in state.steps)]
        assert [step.source for step in state.steps] == path[:-1]
        assert state.state == path[-1]
        assert [step.on for step in state.steps] == sorted(step.on for step in state.steps)
        for step in moves(state):
            assert any(way.target == step.target for way in ladder.state(step.source).next)
            assert any(item.role == "used" for item in step.evidence), "no step without evidence"
        assert state.terminal is ladder.state(state.state).terminal
        assert not (state.terminal and (state.overdue or state.settles))


@CALM
@given(HISTORIES)
def test_the_same_history_gives_the_same_state_whatever_was_climbed_before(rows: list[Row]) -> None:
    shared = context(*rows, on=130)
    found: dict[str, LadderState] = {}
    for ladder in (*ladders().values(), *reversed(ladders().values())):
        state = climb(cast(Ladder, ladder), shared)
        assert found.setdefault(ladder.id, state) == state
    assert cast(Facts, shared.facts).findings == context(*rows, on=130).facts.findings
