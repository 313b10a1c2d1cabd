"""Windows and thresholds, read out of the protocol: no number of the analysis stands anywhere else."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import msgspec

from adapter.errors import ExportError
from adapter.model.decision import Verdict
from adapter.model.kleene import Truth
from adapter.model.nodes import descend
from adapter.model.protocol import Protocol, Visit
from adapter.model.quantity import Comparison, Interval, number_text
from adapter.model.rules import Change, ReadingIs
from adapter.model.selection import Bound, Bounds, Selection

_SIGNS: dict[Comparison, str] = {
    "above": ">",
    "at_least": ">=",
    "below": "<",
    "at_most": "<=",
    "equal": "=",
}


class Threshold(msgspec.Struct, frozen=True):
    """A comparison of the value, or (``of_fall``) of its fall from the peak in percent."""

    comparison: Comparison
    number: Fraction
    of_fall: bool = False

    def told(self, parameter: str, unit: str) -> str:
        """What CRITy says: ``UPE24 < 0.3 g/day``."""
        amount = f"{_SIGNS[self.comparison]} {number_text(self.number)}"
        return (
            f"{parameter} fell by {amount} % from its peak"
            if self.of_fall
            else f"{parameter} {amount} {unit}"
        )

    def holds(self, value: Interval) -> Truth:
        return value.compare(self.comparison, self.number)


class Window(msgspec.Struct, frozen=True):
    """A visit of the protocol on the days of one subject."""

    visit: str
    name: str
    number: int
    target: date
    first: date
    last: date


def response_threshold(protocol: Protocol, state: str) -> Threshold:
    """The comparison in the response line of a state: of a reading, or of a fall between two."""
    for line in protocol.plan.responses:
        if line.state != state:
            continue
        for node in descend(line.when):
            if isinstance(node, ReadingIs) and (bound := _bound(node)) is not None:
                return Threshold(bound.comparison, bound.amount.value)
            if isinstance(node, Change) and node.direction == "fall" and node.bound.amount.unit == "%":
                return Threshold(node.bound.comparison, node.bound.amount.value, of_fall=True)
    raise _missing(f"a threshold in the response {state}")


def endpoint_threshold(protocol: Protocol, endpoint: str) -> Threshold:
    """The comparison of the reading at the visit that makes an endpoint met."""
    for criterion in protocol.plan.endpoints:
        if criterion.id != endpoint:
            continue
        for line in criterion.lines:
            for node in descend(line.when) if line.verdict is Verdict.MET else ():
                bound = _bound(node) if isinstance(node, ReadingIs) else None
                if bound is not None and isinstance(node, ReadingIs) and node.selection.near is not None:
                    return Threshold(bound.comparison, bound.amount.value)
    raise _missing(f"a threshold in the endpoint {endpoint}")


def baseline_days(protocol: Protocol, reading: str) -> tuple[int, int]:
    """First and last day, counted from randomisation, on which a baseline reading is looked for."""
    for named in protocol.readings:
        if named.name == reading and isinstance(named.rule, Selection):
            start, end = named.rule.period.start, named.rule.period.end
            if start is not None and end is not None and start.anchor == end.anchor and start.unit == "days":
                return start.shift, end.shift
    raise _missing(f"a reading {reading} with a window around randomisation")


def windows(protocol: Protocol, zero: date) -> tuple[Window, ...]:
    """The planned visits of one subject; AVISITN counts them from 1, 0 is the baseline."""
    return tuple(_window(visit, number, zero) for number, visit in enumerate(protocol.visits, start=1))


def _window(visit: Visit, number: int, zero: date) -> Window:
    target, first, last = visit.days(zero)
    return Window(visit.id, visit.name, number, target, first, last)


def window_of(windows: tuple[Window, ...], day: date | None) -> Window | None:
    """The window that holds the day; of several the one whose target is nearest, of equals the earlier."""
    inside = [one for one in windows if day is not None and one.first <= day <= one.last]
    return min(inside, key=lambda one: (abs(one.target - (day or one.target)), one.number), default=None)


def study_day(day: date | None, zero: date | None) -> int | None:
    """Days from randomisation, which is day 1; there is no day 0."""
    if day is None or zero is None:
        return None
    return (day - zero + timedelta(days=1)).days if day >= zero else (day - zero).days


def _bound(node: ReadingIs) -> Bound | None:
    if isinstance(node.test, Bounds) and len(node.test.bounds) == 1 and not node.test.bounds[0].amount.of:
        return node.test.bounds[0]
    return None


def _missing(what: str) -> ExportError:
    return ExportError(
        f"the protocol has no {what.removeprefix('a ')}", fix="see mappings/adam and protocol.yaml"
    )
