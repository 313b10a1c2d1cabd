"""Lines that name nobody, looked at while lines are dealt: one that cannot be read costs everybody's silence,
and that should be known before anybody is judged, or all are judged again with it.
"""

from __future__ import annotations

from collections.abc import Callable

from adapter import mappers
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.deal import mentions
from adapter.screening.judge import lost_by_all
from adapter.source.ndjson import type_of
from adapter.trial import Trial

_MOST = 2000
_OWNED = frozenset(mappers.MAPPERS) - {"Patient"} | {""}


class Unowned:
    """Those of one range; the first two thousand, since what they cost is mostly the same."""

    def __init__(self) -> None:
        self._lines: list[RawResource] = []

    def see(self, line: bytes) -> None:
        if len(self._lines) < _MOST and not mentions(line):
            self._lines.append(RawResource(line, "", type_of(line)))

    def gaps(self, trial: Callable[[], Trial]) -> tuple[Coverage, ...]:
        """What they cost everybody; the trial is asked for only if there is something to be mapped."""
        lines = [raw for raw in self._lines if raw.resource_type in _OWNED]
        if not lines:
            return ()
        asked = trial()
        facts = mappers.map_resources(
            lines, terminology=asked.terminology, zone=asked.site.zone, options=asked.site.options
        )
        return lost_by_all(facts.coverage)
