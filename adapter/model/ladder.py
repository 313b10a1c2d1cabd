"""A ladder as data: states, what moves from one to the next, what each asks a person to do.

:mod:`adapter.protocol.ladder_load` builds these nodes from ``ladders.yaml``; one small engine climbs any of
them. A ladder proposes, a person confirms: nothing here changes a dose. The words are in ``docs/ladders.md``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from adapter.model.nodes import Moment, Node, Offset
from adapter.model.rules import Condition
from adapter.model.selection import Bound, DrugSelector, Selection

MeasureKind = Literal["fall", "rise", "multiple", "level"]
Worst = Literal["highest", "lowest"]
Timing = Literal["review", "any"]
DoseChange = Literal["factor", "daily", "hold", "stop"]
Late = Literal["decides", "waits"]
ENTRY = "entry"
"""The day a state was entered, as a day that a review counts from."""


class Baseline(Node, frozen=True, kw_only=True):
    """One selection that may give the reference value; ``flags`` are shown when it does."""

    selection: Selection
    flags: tuple[str, ...] = ()


class Measure(Node, frozen=True, kw_only=True):
    """The number a ladder watches, worked out for each day that has a reading.

    ``fall`` and ``rise``: the change against the first baseline that has a reading, in percent of it, within
    one series (the ``series`` listed, in that order, then reported ones). ``multiple``: the multiple of
    the laboratory's own ``limit``. ``level``: the reading itself. Of several values of one day the ``worst``
    one is the day's.
    """

    name: str
    kind: MeasureKind
    selection: Selection
    baselines: tuple[Baseline, ...] = ()
    series: tuple[str, ...] = ()
    limit: Literal["upper_limit", "lower_limit"] = "upper_limit"
    worst: Worst = "highest"

    @property
    def unit(self) -> str:
        """What bounds on the measure are written in; "" for the unit of the concept."""
        return {"fall": "%", "rise": "%", "multiple": "x", "level": ""}[self.kind]


class DayName(Node, frozen=True, kw_only=True):
    """A day within a state that a person records: an answer, or the first exposure to some drugs.

    Only days from the entry into the state on count. If none is on record the entry stands for it, with
    ``flag``.
    """

    name: str
    link: str = ""
    by: DrugSelector | None = None
    drugs: tuple[str, ...] = ()
    flag: str = ""


class Review(Node, frozen=True, kw_only=True):
    """When the next result is wanted: days after each of the days it counts from, both ends included."""

    target: int
    first: int
    last: int
    counted_from: tuple[str, ...] = (ENTRY,)


class Overdue(Node, frozen=True, kw_only=True):
    """What a review without a result does: a flag, and whether a result after its window still decides."""

    flag: str = ""
    late: Late = "waits"
    late_flag: str = ""


class DoseStep(Node, frozen=True, kw_only=True):
    """What entering a state does to the daily dose: times ``factor``, or ``daily`` itself."""

    change: DoseChange
    factor: Fraction | None = None
    daily: Fraction | None = None


class Since(Node, frozen=True, kw_only=True):
    """At least so many days after a named day."""

    day: str
    days: int


class Trigger(Node, frozen=True, kw_only=True):
    """What has to hold of a day's measure. ``risen``: of a concept that entered the state, and higher now.

    ``again_within``: an earlier day in the same state, at least ``again_after`` and at most so many days
    before, held the bounds too.
    """

    bounds: tuple[Bound, ...]
    risen: bool = False
    since: Since | None = None
    again_within: int | None = None
    again_after: int = 1
    timing: Timing = "any"


class Transition(Node, frozen=True, kw_only=True):
    """One way out of a state; the ways are tried in order.

    With ``after`` it is taken by the calendar, so long after the state was entered, whatever is measured.
    """

    target: str
    trigger: Trigger
    after: Offset | None = None
    flags: tuple[str, ...] = ()


class Otherwise(Node, frozen=True, kw_only=True):
    """A review result that fits no way out: what is shown, and what would settle it."""

    flags: tuple[str, ...] = ()
    settles: str = ""
    settles_zh: str = ""


class State(Node, frozen=True, kw_only=True):
    id: str
    name: str
    name_zh: str = ""
    action: str = ""
    action_zh: str = ""
    dose: DoseStep | None = None
    days: tuple[DayName, ...] = ()
    review: Review | None = None
    overdue: Overdue = Overdue()
    otherwise: Otherwise = Otherwise()
    next: tuple[Transition, ...] = ()
    terminal: bool = False


class Alert(Node, frozen=True, kw_only=True):
    """A flag for a day whose measure is out of some bounds; it never moves the ladder.

    ``states`` names where it is looked for; empty means everywhere.
    """

    name: str
    measure: Measure
    bounds: tuple[Bound, ...]
    states: tuple[str, ...] = ()


class Companion(Node, frozen=True, kw_only=True):
    """A reading that belongs beside each review (a trough): missing it is shown, it stops nothing.

    It counts when taken on the day of the result or at most ``look_back`` days before. ``bounds`` with
    ``flag`` name a likely cause.
    """

    selection: Selection
    look_back: int = 0
    missing: str = ""
    bounds: tuple[Bound, ...] = ()
    flag: str = ""


class Dosing(Node, frozen=True, kw_only=True):
    """The drug whose daily dose the ladder moves. ``minimum`` and ``maximum`` are in ``unit`` per day."""

    drugs: tuple[str, ...]
    unit: str
    minimum: Fraction | None = None
    maximum: Fraction | None = None


class OtherLadder(Node, frozen=True, kw_only=True):
    """Another reading of the same text: other ways out of some states."""

    name: str
    reading: str
    next: tuple[tuple[str, tuple[Transition, ...]], ...]


class Ladder(Node, frozen=True, kw_only=True):
    """A whole ladder; its first state is where everyone starts.

    ``criterion`` is the exit that the terminal state means, ``when`` says for whom the ladder is, ``begin``
    the day on which the first state is entered, and ``turnaround`` how many days a result may take before it
    is called late.
    """

    id: str
    text: str
    text_zh: str = ""
    source: str = ""
    criterion: str = ""
    when: Condition | None = None
    begin: Moment | None = None
    measure: Measure
    alerts: tuple[Alert, ...] = ()
    companion: Companion | None = None
    dosing: Dosing | None = None
    turnaround: int = 0
    states: tuple[State, ...]
    alternatives: tuple[OtherLadder, ...] = ()

    @property
    def start(self) -> State:
        return self.states[0]

    def state(self, state_id: str) -> State:
        for found in self.states:
            if found.id == state_id:
                return found
        raise KeyError(state_id)
