"""Carries changes to a server: several as one whole, or one by one where it knows no transactions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from adapter.errors import AdapterError
from adapter.writeback.current import subjects_of
from adapter.writeback.note_current import doubled
from adapter.writeback.plan import Change, transaction
from adapter.writeback.resources import Json, content_sha256, reference_of
from adapter.writeback.rungs import NOTES, Way
from adapter.writeback.server import Server, Stored

At = Callable[[str], None]
SUBJECTS_IN_ONE_TRANSACTION = 20


class Part(Exception):
    """What follows the ``stored`` changes was not written, because of ``fault``."""

    def __init__(self, stored: Sequence[Stored], fault: AdapterError) -> None:
        super().__init__(fault.message)
        self.stored = tuple(stored)
        self.fault = fault


class ServerCarrier:
    """Carries to a FHIR server on one rung; ``aliases`` maps merged Patient ids to survivors."""

    encloses_shared = False
    subjects_at_once = SUBJECTS_IN_ONE_TRANSACTION

    def __init__(self, server: Server, way: Way, aliases: Mapping[str, str]) -> None:
        self._server = server
        self._way = way
        self._aliases = aliases

    async def __call__(self, changes: Sequence[Change], at: At) -> list[Stored]:
        """Raises as :meth:`Server.transact`, or :class:`Part` if only the first of several arrived."""
        if self._way.whole:
            return await self._server.transact(transaction(changes))
        stored: list[Stored] = []
        for change in changes:
            try:
                stored.append(await self._one(change))
            except AdapterError as fault:
                if not stored:
                    raise
                raise Part(stored, fault) from fault
            if len(changes) > 1:
                at(f"part {change.reference.partition('/')[0]}")
        return stored

    async def holds(self, reference: str) -> bool:
        return await self._server.read(reference) is not None

    async def check(self, study: str, written: Collection[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of notes, a duplicate that is word for word ours is taken back where the server lets us; whatever a
        person may have touched, and every ResearchSubject, is only told."""
        if self._way.rung not in NOTES:
            people = await subjects_of(self._server, study, self._aliases)
            return tuple(sorted(one for one, several in people.items() if len(several) > 1)), ()
        found = await doubled(self._server, written, self._way) if self._way.look else {}
        taken_back = [
            await self._take_back(several[0], one) for several in found.values() for one in several[1:]
        ]
        return tuple(sorted(found)), tuple(one for one in taken_back if one)

    async def _take_back(self, kept: Json, other: Json) -> str:
        version = str(other.get("meta", {}).get("versionId", ""))
        ours = content_sha256({**other, "id": ""}) == content_sha256({**kept, "id": ""})
        if not (ours and self._way.retracts and version):
            return ""
        try:
            await self._server.put({**other, "status": "entered-in-error"}, version)
        except AdapterError:
            return ""  # it is told as a duplicate, and a person has to see to it
        return reference_of(other)

    async def _one(self, change: Change) -> Stored:
        if not self._way.client_ids and not change.based_on:
            return await self._server.create(change.resource)
        resource = change.resource
        if change.address:
            resource = {**resource, "id": change.address.partition("/")[2]}
        unguarded = change.reference.startswith("Provenance/")  # its id says all that it says
        return await self._server.put(resource, None if unguarded else change.based_on)
