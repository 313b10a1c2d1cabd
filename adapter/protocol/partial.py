"""What can still be said where a part of a record was asked for and did not come.

Any record may be among what was lost: a newer reading, an older peak, the day that a period counts from. So a
condition that selects among records, or counts days from one, is unknown (PARTIAL_RECORD). What no further
record can change stays decided: a reading that passes where any will do, an event, an exposure, so many
readings that pass. A lost correction of a record that came is the one thing this cannot see.

Where less was asked for, or a source offers no more (``Coverage.limited``), nothing was lost: what is in
scope decides, and LIMITED_SCOPE says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from adapter.model.course import ArmIs, DoseChanged, DoseIs, GapIs
from adapter.model.kleene import Truth
from adapter.model.ladder import DayName, Dosing, Ladder
from adapter.model.nodes import Moment, descend
from adapter.model.protocol import Protocol
from adapter.model.rules import (
    AnchorDay,
    AnchorRule,
    AsOf,
    Attested,
    AttestedDay,
    BirthDay,
    Change,
    Condition,
    EarliestOf,
    EventDay,
    ExposureDay,
    FirstKnown,
    ReadingDay,
    ReadingIs,
    Repeated,
    Share,
)
from adapter.model.selection import Amount, EventTest, Exists, ExposureTest, NotDuring, Selection, Timed
from adapter.protocol.context import Context
from adapter.protocol.outcome import Outcome, unique
from adapter.protocol.saying import say

PARTIAL_RECORD = "PARTIAL_RECORD"
LIMITED_SCOPE = "LIMITED_SCOPE"
AS_IF_WHOLE = "by the records that came, as if they were all"

_Types = frozenset[str]
_NONE: _Types = frozenset()
_ANSWERS: _Types = frozenset({"QuestionnaireResponse"})
_READINGS: _Types = frozenset({"Observation"})
# what a reading was taken from and the report it stands in may take back what the reading seems to say
_BESIDE_READINGS: _Types = frozenset({"DiagnosticReport", "Specimen"})
_SUPPLY: _Types = frozenset({"MedicationAdministration", "MedicationDispense", "MedicationStatement"})
_DRUGS: _Types = _SUPPLY | {"Medication", "MedicationRequest"}
_STUDY: _Types = frozenset({"ResearchStudy", "ResearchSubject"})
_NAMES_A_STUDY: _Types = frozenset({"AdverseEvent", "Consent", "ResearchSubject"})


class Reach(msgspec.Struct):
    """The resource types that each condition of one protocol looks at, worked out once."""

    protocol: Protocol
    known: dict[Condition, tuple[_Types, _Types]] = {}

    def of(self, condition: Condition) -> tuple[_Types, _Types]:
        """Types whose further records add to those a condition looks at; and types whose further records
        may change what these mean: the days, limits and guards that it names."""
        found = self.known.get(condition)
        if found is None:
            found = self.known[condition] = _own(condition), self._turning(condition)
        return found

    def of_ladder(self, ladder: Ladder) -> _Types:
        own = (_own(part) for part in descend(ladder))
        return _READINGS.union(self._turning(ladder), *own)

    def _turning(self, node: Any) -> _Types:
        return _NONE.union(*(self._direct(part) for part in descend(node)))

    def _direct(self, part: object) -> _Types:
        match part:
            case Moment(anchor=anchor) if anchor:
                return self._anchor(anchor)
            case NotDuring(condition=condition):
                return _own(condition)
            case Timed() | Dosing():
                return _DRUGS
            case DayName(link=link, by=by):
                return (_ANSWERS if link else _NONE) | (_DRUGS if by else _NONE)
            case Selection():
                return _BESIDE_READINGS
            case Amount(of="reading", reading=name):
                chosen = (named.rule for named in self.protocol.readings if named.name == name)
                return _READINGS.union(*(self._turning(rule) for rule in chosen))
        return _NONE

    def _anchor(self, name: str) -> _Types:
        """The types an anchor is read from; the days of a visit are counted from day zero."""
        rules: dict[str, Any] = {named.name: named.rule for named in self.protocol.anchors}
        rule = rules.get(name) or rules.get(self.protocol.plan.day_zero)
        return _NONE if rule is None else self._days(rule)

    def _days(self, rule: AnchorRule) -> _Types:
        match rule:
            case AsOf() | BirthDay():
                return _NONE
            case AttestedDay():
                return _ANSWERS
            case EventDay(resource_types=types):
                return _recorded(types)
            case ExposureDay(period=period):
                return _DRUGS | self._turning(period)
            case ReadingDay(selection=selection, test=test):
                return _READINGS | self._turning(selection) | self._turning(test)
            case AnchorDay(moment=moment):
                return self._turning(moment)
            case FirstKnown(options=options) | EarliestOf(options=options):
                return _NONE.union(*(self._days(option) for option in options))


@lru_cache(maxsize=4)
def reach_of(protocol: Protocol) -> Reach:
    return Reach(protocol, {})


def _recorded(types: Iterable[str]) -> _Types:
    """The types in which events are recorded, with what says which study they are of."""
    found = frozenset(types)
    return found | _STUDY if found & _NAMES_A_STUDY else found


def _own(node: object) -> _Types:
    match node:
        case ReadingIs() | Repeated() | Share() | Change():
            return _READINGS
        case Attested():
            return _ANSWERS
        case EventTest(resource_types=types):
            return _recorded(types)
        case DoseIs(dose=dose):
            return _DRUGS | (_READINGS if dose.weight is not None else _NONE)
        case ExposureTest() | DoseChanged() | GapIs():
            return _DRUGS
        case ArmIs():
            return _STUDY
    return _NONE


def bounded(condition: Condition, found: Outcome, context: Context) -> Outcome:
    """What a condition comes to, by what was lost of the records that it looks at."""
    own, turning = reach_of(context.protocol).of(condition)
    if lost := context.lost & (own | turning):
        if not lost & turning and _lasts(condition, found, lost):
            return found
        return unsettled(found, lost, context)
    if own & context.limited and found.truth is not Truth.UNKNOWN and _selects(condition):
        return msgspec.structs.replace(found, flags=unique((*found.flags, LIMITED_SCOPE)))
    return found


def unsettled(found: Outcome, lost: Iterable[str], context: Context) -> Outcome:
    """Unknown, with the evidence as it is and what did not come."""
    return msgspec.structs.replace(
        found,
        truth=Truth.UNKNOWN,
        flags=unique((*found.flags, PARTIAL_RECORD)),
        needs=unique((*(lost_part(name, context) for name in sorted(lost)), *found.needs)),
        distance="",
    )


def lost_part(resource_type: str, context: Context) -> str:
    rows = context.facts.coverage
    why = {
        row.reason
        for row in rows
        if row.lost and row.subject in ("", context.subject.id)
        if row.resource_type == resource_type and row.reason
    }
    said = f" ({'; '.join(sorted(why))})" if why else ""
    records = say("the {type} records that were asked for and did not come", type=resource_type)
    return f"{records}{said}"


def is_partial(flags: Iterable[str]) -> bool:
    return PARTIAL_RECORD in flags


def _selects(condition: Condition) -> bool:
    return not isinstance(condition, EventTest | ExposureTest)


def _lasts(condition: Condition, found: Outcome, lost: _Types) -> bool:
    """Whether no further record of these types can change the truth."""
    match condition:
        case EventTest():
            return found.truth is Truth.TRUE
        case ExposureTest():
            # an order counts as taken only as long as nothing shows how it was filled
            by_order = "REQUEST_ONLY" in found.flags and bool(lost & _SUPPLY)
            return found.truth is Truth.TRUE and not by_order
        case Repeated(selection=selection):
            return found.truth is Truth.TRUE and not selection.last
        case ReadingIs(selection=selection, test=test):
            if selection.last:
                return False
            if selection.take == "every":
                return found.truth is Truth.FALSE
            return found.truth is Truth.TRUE and (selection.take == "any" or isinstance(test, Exists))
    return False
