"""One result is one reading, however often it was sent: corrections, copies and contradictions.

The same result reaches us as an Observation, inside ``DiagnosticReport.contained``, and again under another
id. Two readings of a subject and concept are *the same result* if they share a business identifier, or
were taken from the same specimen, or (where at least one names no specimen) have the same effective time.
Then, in this order:

1. a contained copy of a result entered in error is in error too;
2. ``corrected`` and ``amended`` replace every other copy, the newest of them decides, and ``final`` replaces
   ``preliminary`` (SUPERSEDED);
3. what is left and says the same thing counts once (DUPLICATE);
4. what is left, carries the same code and contradicts is used by nobody (CONFLICT). For this a shared day is
   not enough: identifier, specimen or the same instant must link the two.

Source: https://hl7.org/fhir/R4/valueset-observation-status.html; pitfalls E-12 and E-13 of the specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import combinations

import msgspec

from adapter.model.facts import Finding, Source
from adapter.model.issue import Issue, Severity
from adapter.model.quantity import Interval

SAYS_NOTHING = frozenset(
    {"SUPERSEDED", "DUPLICATE", "ENTERED_IN_ERROR", "CANCELLED", "NEVER_USE", "WRONG_SUBJECT", "IN_PROGRESS"}
)
_LONG_AGO = datetime(1, 1, 2, tzinfo=UTC)
_CORRECTING = frozenset({"corrected", "amended"})
_DECIDED = frozenset({"final", "corrected", "amended", "unknown", ""})


class Settled(msgspec.Struct, frozen=True):
    findings: tuple[Finding, ...]
    issues: tuple[Issue, ...]


def settle(findings: Iterable[Finding], identifiers: Mapping[Source, tuple[str, ...]]) -> Settled:
    """Mark what was replaced, sent twice or contradicted; nothing is dropped and order does not matter."""
    rows = sorted(findings, key=lambda row: (row.source, row.concept, row.code))
    groups: dict[tuple[str, str], list[int]] = {}
    for position, row in enumerate(rows):
        # Of an unmapped code nobody knows what it measures, so nobody can say that two results are one.
        if row.concept and row.excluded != "WRONG_SUBJECT":
            groups.setdefault((row.subject, row.concept), []).append(position)
    reasons: dict[int, str] = {}
    for positions in groups.values():
        for cluster in _clusters(positions, rows, identifiers):
            reasons.update(_Cluster(cluster, rows, identifiers).reasons())
    changed = tuple(
        msgspec.structs.replace(row, excluded=reasons[position]) if position in reasons else row
        for position, row in enumerate(rows)
    )
    issues = tuple(_issue(rows[position], reason) for position, reason in sorted(reasons.items()))
    return Settled(changed, issues)


def _clusters(
    positions: list[int], rows: list[Finding], identifiers: Mapping[Source, tuple[str, ...]]
) -> list[list[int]]:
    """Groups of rows that share an identifier, a specimen or an effective time, found by buckets."""
    if len(positions) < 2:
        return []
    buckets: dict[tuple[str, object], list[int]] = {}
    for position in positions:
        row = rows[position]
        for identifier in identifiers.get(row.source, ()):
            buckets.setdefault(("identifier", identifier), []).append(position)
        if row.specimen_id:
            buckets.setdefault(("specimen", row.specimen_id), []).append(position)
        if row.when is not None:
            buckets.setdefault(("when", _time_key(row)), []).append(position)
    leader = {position: position for position in positions}

    def find(position: int) -> int:
        while leader[position] != position:
            leader[position] = leader[leader[position]]
            position = leader[position]
        return position

    for bucket in buckets.values():
        for other in bucket[1:]:
            leader[find(other)] = find(bucket[0])
    clusters: dict[int, list[int]] = {}
    for position in positions:
        clusters.setdefault(find(position), []).append(position)
    return [cluster for cluster in clusters.values() if len(cluster) > 1]


class _Cluster:
    """Rows that may be one result, and the rules of the module, applied in their order."""

    def __init__(
        self, positions: list[int], rows: list[Finding], identifiers: Mapping[Source, tuple[str, ...]]
    ) -> None:
        self.rows = rows
        self.identifiers = identifiers
        self.positions = positions
        self.found: dict[int, str] = {}

    def reasons(self) -> dict[int, str]:
        self._entered_in_error()
        self._superseded()
        self._duplicates()
        self._conflicts()
        return self.found

    def _live(self) -> list[int]:
        return [
            one
            for one in self.positions
            if one not in self.found and self.rows[one].excluded not in SAYS_NOTHING
        ]

    def _entered_in_error(self) -> None:
        for wrong in self.positions:
            if self.rows[wrong].excluded != "ENTERED_IN_ERROR":
                continue
            for copy in self._live():
                contained = self.rows[copy].source.path.startswith("contained")
                if contained and self._share_identifier(wrong, copy):
                    self.found[copy] = "ENTERED_IN_ERROR"

    def _superseded(self) -> None:
        live = self._live()
        correcting = [one for one in live if self.rows[one].status in _CORRECTING]
        for newer in correcting:
            for older in live:
                if older == newer or not self._same_result(newer, older):
                    continue
                if self.rows[older].status not in _CORRECTING or self._issued(older) < self._issued(newer):
                    self.found[older] = "SUPERSEDED"
        for final in self._live():
            if self.rows[final].status in _DECIDED:
                for draft in self._live():
                    if self.rows[draft].status == "preliminary" and self._same_result(final, draft):
                        self.found[draft] = "SUPERSEDED"

    def _duplicates(self) -> None:
        kept: list[int] = []
        for one in sorted(self._live(), key=self._preference):
            if any(self._same_result(one, other) and self._same_content(one, other) for other in kept):
                self.found[one] = "DUPLICATE"
            else:
                kept.append(one)

    def _conflicts(self) -> None:
        live = [one for one in self._live() if not self.rows[one].excluded]
        for one, other in combinations(live, 2):
            if (
                self._same_code(one, other)
                and self._same_specimen(one, other)
                and self._contradict(one, other)
            ):
                self.found[one] = self.found[other] = "CONFLICT"

    def _share_identifier(self, one: int, other: int) -> bool:
        left = self.identifiers.get(self.rows[one].source, ())
        return bool(set(left) & set(self.identifiers.get(self.rows[other].source, ())))

    def _same_result(self, one: int, other: int) -> bool:
        left, right = self.rows[one], self.rows[other]
        if self._share_identifier(one, other):
            return True
        if left.specimen_id and right.specimen_id:
            return left.specimen_id == right.specimen_id
        return left.when is not None and right.when is not None and _time_key(left) == _time_key(right)

    def _same_specimen(self, one: int, other: int) -> bool:
        left, right = self.rows[one], self.rows[other]
        if not self._same_result(one, other):
            return False
        named = bool(left.specimen_id) and left.specimen_id == right.specimen_id
        # Vital signs have no specimen, and two readings in one minute are usual practice.
        sampled = left.category != "vital-signs"
        timed = sampled and all(row.when and row.when.precision == "time" for row in (left, right))
        return named or timed or self._share_identifier(one, other)

    def _same_code(self, one: int, other: int) -> bool:
        left, right = self.rows[one], self.rows[other]
        return (left.code.system, left.code.code, left.method) == (
            right.code.system,
            right.code.code,
            right.method,
        )

    def _same_content(self, one: int, other: int) -> bool:
        left, right = self.rows[one], self.rows[other]
        return _content(left) == _content(right)

    def _contradict(self, one: int, other: int) -> bool:
        left, right = self.rows[one], self.rows[other]
        if left.value is not None and right.value is not None:
            return not _overlap(left.value, right.value)
        if left.answer and right.answer:
            return _plain(left.answer) != _plain(right.answer)
        return bool(left.value_code and right.value_code) and left.value_code != right.value_code

    def _issued(self, position: int) -> tuple[datetime, int]:
        """When the report says it was made, then its version number; what is not known is oldest."""
        row = self.rows[position]
        issued = row.issued.at if row.issued and row.issued.at else _LONG_AGO
        version = row.source.version
        return (issued, int(version) if version.isdecimal() and len(version) < 19 else -1)

    def _preference(self, position: int) -> tuple[bool, bool, Source]:
        row = self.rows[position]
        return (bool(row.excluded), row.source.path.startswith("contained"), row.source)


def _time_key(row: Finding) -> object:
    """Equal for equal moments however they were written (``09:00+08:00`` and ``01:00Z``)."""
    assert row.when is not None  # noqa: S101 - callers look first
    start = row.start.order[:3] if row.start else None
    return (start, row.end.order[:3] if row.end else None)


def _content(row: Finding) -> object:
    bounds = (
        (row.value.low, row.value.high, row.value.low_closed, row.value.high_closed) if row.value else None
    )
    unread = row.original if row.excluded in ("UNPARSED_TEXT", "UNIT_UNKNOWN", "UNIT_MISSING") else ""
    when = row.value_date.order[:3] if row.value_date else None
    return (bounds, row.unit, row.answer, row.value_code, when, unread, row.method)


def _overlap(left: Interval, right: Interval) -> bool:
    return not (_below(left, right) or _below(right, left))


def _below(left: Interval, right: Interval) -> bool:
    """Whether every number of the left interval is smaller than every number of the right one."""
    if left.high is None or right.low is None:
        return False
    if left.high == right.low:
        return not (left.high_closed and right.low_closed)
    return left.high < right.low


def _plain(answer: str) -> str:
    return "positive" if answer == "weak_positive" else answer


def _issue(row: Finding, reason: str) -> Issue:
    severity: Severity = "warning" if reason == "CONFLICT" else "information"
    return Issue(
        reason,
        severity,
        row.source.reference.partition("/")[0],
        row.source.reference,
        row.source.path,
        f"concept {row.concept or 'unmapped'}",
        row.subject,
    )
