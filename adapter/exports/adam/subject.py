"""One subject as the analysis sees them, and one row of analysis while it is being made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from typing import NamedTuple

import msgspec

from adapter.exports.adam.spec import Parameter
from adapter.exports.adam.thresholds import Window
from adapter.exports.dataset import Cell, Dataset
from adapter.exports.record import Person
from adapter.model.decision import CriterionResult, Evidence, Verdict
from adapter.model.monitoring import Monitoring, VisitState

NOT_APPLICABLE = "NOT_APPLICABLE"
SdtmRow = Mapping[str, Cell]


class SourceRow(NamedTuple):
    """A record of SDTM: dataset and --SEQ."""

    dataset: str
    number: int


class RowsOfSubjects:
    """The rows of one dataset by subject; those of one subject at a time are held."""

    def __init__(self, table: Dataset) -> None:
        self._names = [column.name for column in table.columns]
        self._table = table
        self._places: dict[str, list[int]] = {}
        self._last: tuple[str, tuple[SdtmRow, ...]] = ("", ())
        if "USUBJID" in self._names:
            at = self._names.index("USUBJID")
            for place, row in enumerate(table.rows):
                self._places.setdefault(str(row[at]), []).append(place)

    def of(self, usubjid: str) -> tuple[SdtmRow, ...]:
        if self._last[0] != usubjid:
            rows = (self._table.rows[place] for place in self._places.get(usubjid, ()))
            self._last = usubjid, tuple(dict(zip(self._names, row, strict=True)) for row in rows)
        return self._last[1]


class Records(Mapping[str, tuple[SdtmRow, ...]]):
    """The rows of one subject by dataset, read when they are asked for."""

    def __init__(self, tables: Mapping[str, RowsOfSubjects], usubjid: str) -> None:
        self._tables, self._usubjid = tables, usubjid

    def __getitem__(self, name: str) -> tuple[SdtmRow, ...]:
        return self._tables[name].of(self._usubjid)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class Subject(msgspec.Struct):
    """A person of DM with what monitoring says of them; ``zero`` is the day of randomisation."""

    person: Person
    dm: SdtmRow
    records: Mapping[str, tuple[SdtmRow, ...]]
    sources: Mapping[tuple[str, str, str], SourceRow]
    monitoring: Monitoring | None = None
    windows: tuple[Window, ...] = ()
    adsl: dict[str, Cell] = {}

    @property
    def zero(self) -> date | None:
        return self.monitoring.randomised if self.monitoring else None

    @property
    def followed(self) -> Monitoring:
        """The monitoring of somebody on the study."""
        if self.monitoring is None:
            raise TypeError("not on the study")
        return self.monitoring

    def source(self, evidence: Evidence) -> SourceRow | None:
        """The SDTM record made from what a verdict rests on, if it was exported."""
        place = (evidence.source.reference, evidence.source.path)
        return self.sources.get((*place, evidence.concept)) or self.sources.get((*place, ""))

    def told(self, result: CriterionResult, visit: Window | None) -> Verdict:
        """The verdict as far as it may leave: nothing that was learnt after a withdrawal is told."""
        until = self.person.until
        if until is None or result.verdict is Verdict.UNKNOWN:
            return result.verdict
        days = [evidence_day(one) for part in result.walk() for one in part.evidence if one.role == "used"]
        late = any(day is None or day > until for day in days)
        silent = not days and (visit is None or visit.last > until)
        return Verdict.UNKNOWN if late or silent else result.verdict


class Row(msgspec.Struct):
    """One row of a BDS dataset; ``text`` keeps a comparator, ``value`` is None where there is one."""

    subject: Subject
    parameter: Parameter
    value: Fraction | None = None
    text: str = ""
    day: date | None = None
    window: Window | None = None
    at_baseline: bool = False
    is_baseline: bool = False
    used: bool = False
    observed: bool = False
    baseline: Row | None = None
    peak: Row | None = None
    derivation: str = ""
    reason: str = ""
    record: SdtmRow = {}
    source: SourceRow | None = None
    source_variable: str = ""
    started: date | None = None
    censor: int | None = None
    event: str = ""
    censored_at: str = ""
    flags: dict[int, tuple[str, str]] = {}
    sequence: int = 0
    decimals: int = 4


def evidence_day(evidence: Evidence) -> date | None:
    return date.fromisoformat(evidence.when[:10]) if len(evidence.when) >= 10 else None


def assessed(visit: VisitState, until: date | None = None) -> Evidence | None:
    """The latest reading within the window that the response rests on, not after ``until``."""
    inside = []
    for one in visit.evidence:
        day = evidence_day(one)
        if one.role == "used" and day is not None and visit.first <= day <= visit.last:
            inside.append((day, one.when, one.source, one))
    found = max(inside, key=lambda item: item[:3], default=None)
    if found is None or (until is not None and found[0] > until):
        return None
    return found[3]
