"""Reads what the server holds about one study: the study, its subjects, our Flags."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from adapter import __version__
from adapter.errors import WriteRefused
from adapter.store.ledger import Memory
from adapter.writeback.flag import KINDS
from adapter.writeback.identity import client_id, patient_of
from adapter.writeback.monitoring_flag import MONITORING_KINDS, place_of
from adapter.writeback.plan import CurrentState
from adapter.writeback.research_study import SOFTWARE, StudyReference
from adapter.writeback.resources import Json, reference_of
from adapter.writeback.server import Server

IDS_IN_ONE_SEARCH = 40  # about 2.5 kB of URL


async def read_current(
    server: Server,
    study: StudyReference,
    subjects: Iterable[str],
    memory: Memory,
    aliases: Mapping[str, str],
) -> CurrentState:
    """``aliases`` maps a merged Patient.id to the surviving one. Raises WriteRefused if the server has two
    studies with the trial's number, and what :class:`Server` raises."""
    wanted = sorted(subjects)
    own_study = await find_study(server, study)
    has_device = await server.read(f"Device/{client_id('device', SOFTWARE, __version__)}") is not None
    people = await subjects_of(server, own_study, aliases)
    flag_ids = [client_id(f"flag-{kind}", study.id, one) for one in wanted for kind in KINDS]
    flags = await _by_ids(server, "Flag", flag_ids)

    ours = {f"ResearchSubject/{client_id('subject', study.id, one)}" for one in wanted}
    ours |= {f"Flag/{key}" for key in flag_ids}
    there = {reference_of(one) for several in people.values() for one in several} | set(flags)
    missing = sorted((ours & set(memory.written)) - there)
    gone = await asyncio.gather(*(server.is_gone(reference) for reference in missing))
    deleted = frozenset(reference for reference, was in zip(missing, gone, strict=True) if was)
    return CurrentState(own_study, has_device, people, flags, deleted)


async def read_monitoring_state(
    server: Server,
    study: StudyReference,
    subjects: Iterable[str],
    memory: Memory,
    aliases: Mapping[str, str],
) -> CurrentState:
    """As :func:`read_current`, with every Flag about these people instead of those of screening."""
    wanted = sorted(subjects)
    own_study = await find_study(server, study)
    has_device = await server.read(f"Device/{client_id('device', SOFTWARE, __version__)}") is not None
    people = await subjects_of(server, own_study, aliases)
    flags: dict[str, Json] = {}
    for start in range(0, len(wanted), IDS_IN_ONE_SEARCH):
        some = ",".join(f"Patient/{one}" for one in wanted[start : start + IDS_IN_ONE_SEARCH])
        for resource in await server.search("Flag", subject=some, _count="200"):
            if place_of(resource, study.id) is not None:
                flags[reference_of(resource)] = resource
    ours = tuple(f"Flag/flag-{kind}-" for kind in MONITORING_KINDS)
    missing = sorted(one for one in memory.written if one.startswith(ours) and one not in flags)
    gone = await asyncio.gather(*(server.is_gone(reference) for reference in missing))
    deleted = frozenset(reference for reference, was in zip(missing, gone, strict=True) if was)
    return CurrentState(own_study, has_device, people, flags, deleted)


async def subjects_of(server: Server, study: str, aliases: Mapping[str, str]) -> dict[str, tuple[Json, ...]]:
    """All ResearchSubjects of a study by surviving Patient.id; those of nobody here are left out."""
    if not study:
        return {}
    people: dict[str, tuple[Json, ...]] = {}
    for resource in await server.search("ResearchSubject", study=study, _count="200"):
        # a lenient server that ignores the parameter returns other studies too
        if not _names(resource.get("study", {}).get("reference", ""), study, server.base_url):
            continue
        patient = patient_of(resource.get("individual", {}).get("reference", ""), server.base_url)
        if patient:
            survivor = aliases.get(patient, patient)
            people[survivor] = (*people.get(survivor, ()), resource)
    return people


async def find_study(server: Server, study: StudyReference) -> str:
    found = [
        resource
        for resource in await server.search("ResearchStudy", identifier=study.id)
        if any(identifier.get("value") == study.id for identifier in resource.get("identifier", []))
    ]
    if len(found) > 1:
        raise WriteRefused(
            f"{len(found)} ResearchStudy resources carry the identifier {study.id}",
            where=", ".join(sorted(reference_of(one) for one in found)),
            fix="keep the identifier on one of them",
        )
    return reference_of(found[0]) if found else ""


async def _by_ids(server: Server, resource_type: str, ids: Sequence[str]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for start in range(0, len(ids), IDS_IN_ONE_SEARCH):
        some = ids[start : start + IDS_IN_ONE_SEARCH]
        for resource in await server.search(resource_type, _id=",".join(some), _count=str(len(some))):
            if resource["id"] in some:
                found[reference_of(resource)] = resource
    return found


def _names(reference: str, study: str, base_url: str) -> bool:
    return reference.split("/_history/")[0].removeprefix(f"{base_url}/") == study
