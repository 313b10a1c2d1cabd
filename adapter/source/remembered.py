"""What a landing holds of each patient, so that a later crawl need ask only for what changed.

The resources of a landing are held in memory: a landing made over REST has those of candidates alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec

from adapter.source.changes import Key, head_of
from adapter.source.landing import Landing
from adapter.source.nominate import subjects_of
from adapter.source.search import Entry

OVERLAP = timedelta(hours=1)
"""How far back a delta reaches behind the newest stamp: late commits, and clocks that are not quite right."""

_JSON = msgspec.json.Decoder()


class Stamp(msgspec.Struct, frozen=True):
    """The newest ``meta.lastUpdated`` seen of a type, and the resource that bears it."""

    updated: datetime
    patient: str
    id: str


class Remembered:
    """One landing by type, patient and id."""

    def __init__(self, landing: Landing) -> None:
        self.landed_at = datetime.fromisoformat(landing.manifest.landed_at)
        self.patients = frozenset(row.subject for row in landing.coverage if row.resource_type == "Patient")
        self.complete = {(row.resource_type, row.subject) for row in landing.coverage if row.complete}
        reread = landing.manifest.reread
        self.reread = frozenset() if reread is msgspec.UNSET else frozenset(reread)
        self.unanswered = frozenset(filter(None, landing.manifest.asked.get("unanswered", "").split(",")))
        self._charts: defaultdict[tuple[str, str], dict[str, Entry]] = defaultdict(dict)
        self._owners: dict[Key, set[str]] = {}
        twice: set[Key] = set()
        for raw in landing.resources():
            head = head_of(raw.line)
            if not head.id:
                continue
            owners, _ = subjects_of(_JSON.decode(raw.line))
            version = head.meta.versionId or head.meta.lastUpdated
            entry = Entry(raw.line, head.resourceType, head.id, version, raw.where)
            twice |= {head.key} & self._owners.keys()
            self._owners.setdefault(head.key, set()).update(owners)
            for owner in owners:
                self._charts[head.resourceType, owner][head.id] = entry
        # a resource that changed while it was read stands in two versions: its charts are read in full again
        for kind, name in twice:
            self.complete -= {(kind, owner) for owner in self._owners[kind, name]}

    def chart(self, kind: str, patient: str) -> dict[str, Entry]:
        """The resources of one type of one patient, by id."""
        return self._charts.get((kind, patient), {})

    def owners(self) -> Iterator[tuple[Key, set[str]]]:
        """Every resource with the patients it says it is of."""
        yield from self._owners.items()

    def newest(self, kind: str, patients: Iterable[str]) -> Stamp | None:
        """The newest stamp of a type among these patients' complete charts; None if nothing bears one. Charts
        that were read again alone do not count: of the others nobody knows what changed before them."""
        stamps = [
            (updated, patient, entry.id)
            for patient in patients
            if (kind, patient) in self.complete and f"{kind}/{patient}" not in self.reread
            for entry in self.chart(kind, patient).values()
            if (updated := head_of(entry.raw).version.updated) is not None
        ]
        return Stamp(*max(stamps)) if stamps else None

    def since(self, newest: Stamp) -> datetime | None:
        """From when on changes are asked for; None if the stamps are of the future and say nothing.

        The server's own stamps are the clock: whatever changed later bears a stamp no older than the newest
        that was seen, if its clock runs forward, be it right or wrong.
        """
        if newest.updated > self.landed_at + OVERLAP:
            return None
        return min(newest.updated, self.landed_at) - OVERLAP
