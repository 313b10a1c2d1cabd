"""Landing a whole hospital by bulk export, and by search where there is no export to be had.

Joins the export (``source/bulk.py``) with what only the trial knows: which resource types the mappers read,
whom to look for if it has to be a search after all, and what was landed before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from adapter import mappers
from adapter.errors import ConfigError, SourceRefused
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model.issue import Issue
from adapter.source import crawl
from adapter.source.bulk import BulkExport, Manners
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_request import ExportRequest
from adapter.source.bulk_status import Pace, Step
from adapter.source.client import FhirClient, capabilities
from adapter.source.dialects import named
from adapter.source.landing import Landing, open_landing
from adapter.source.nominate import subjects_of
from adapter.trial import Trial, Workspace, origins_of, token_source

# Read beside the types that have a mapper of their own.
ALSO_READ = frozenset({"Medication"})
LAST = "last"


class Fetched(msgspec.Struct, frozen=True):
    """What is landed now and how it came; ``why_not_bulk`` is the refusal that made it a search."""

    landing: Landing
    how: Literal["bulk", "rest"]
    why_not_bulk: str = ""


async def export(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    group: str = "",
    since: str = "",
    wait: float | None = None,
    told: Callable[[Step], None] = lambda step: None,
) -> Fetched:
    """Export patients (``group``: the members of one, "" those of site.toml or all) into the workspace.

    ``since`` is an instant, or "last" for that of the export landed last: then only what changed is fetched.
    ``wait`` is how many seconds to wait for the server before leaving it to the next run. An export that was
    begun is gone on with. Where the server refuses, the candidates' records are searched for instead. Raises
    ConfigError for a ``since`` that would leave a hole, and what export and search raise.
    """
    group = group or trial.site.bulk_group
    token = token_source(trial, base_url)
    async with FhirClient(
        base_url,
        token,
        origins=origins_of(trial.site, base_url),
        ca_file=trial.site.ca_file,
        dialect=named(trial.site.dialect),
    ) as client:
        try:
            landing = await _by_export(
                trial, workspace, client, now=now, group=group, since=since, wait=wait, told=told
            )
        except SourceRefused as refusal:
            why = getattr(refusal, "reason", refusal.message)
            told(Step("asking", text=f"no export ({why}): candidates are searched for instead"))
            issue = Issue("EXPORT_REFUSED", "warning", "", "bulk export", detail=why)
            landing, _ = await crawl.land_server(
                client,
                candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id),
                workspace.landing,
                now=now,
                issues=(issue,),
                progress=lambda done, of: told(Step("downloading", done, of)),
            )
            return Fetched(landing, "rest", why)
    return Fetched(landing, "bulk")


async def _by_export(
    trial: Trial,
    workspace: Workspace,
    client: FhirClient,
    *,
    now: datetime,
    group: str,
    since: str,
    wait: float | None,
    told: Callable[[Step], None],
) -> Landing:
    can = await capabilities(client)
    types = tuple(name for name in sorted(mappers.MAPPERS.keys() | ALSO_READ) if can.has(name))
    if "Patient" not in types:
        raise SourceRefused("the server has no patients to export", where="bulk export")
    request = ExportRequest(types, "Group" if group else "Patient", group)
    if request.level not in client.dialect.exports:
        raise SourceRefused(
            f"this make of server ({client.dialect.name}) exports Groups only",
            where="bulk export",
            fix="ask the hospital for a Group; --group or bulk_group in site.toml",
        )
    before = _landed(workspace, client)
    if since and before is not None and await _can_change(before, client, request, told):
        request = msgspec.structs.replace(request, since=_since(since, before))
    async with BulkConnection(
        client, token_source(trial, str(client.base)), ca_file=trial.site.ca_file
    ) as bulk:
        run = BulkExport(
            bulk,
            request,
            workspace.root / "bulk",
            manners=Manners(pace=Pace(wait=wait)),
            told=told,
        )
        return await run.run(workspace.landing, now=now, base=before)


def _landed(workspace: Workspace, client: FhirClient) -> Landing | None:
    """What was exported from this server before; the landing of anything else is nobody's former state."""
    try:
        landing = open_landing(workspace.landing)
    except ConfigError:
        return None
    asked = landing.manifest.asked
    return landing if (asked.get("kind"), asked.get("server")) == ("bulk", str(client.base)) else None


async def _can_change(
    before: Landing, client: FhirClient, request: ExportRequest, told: Callable[[Step], None]
) -> bool:
    """Whether an increment onto what is landed gives what a full export would; says why not."""
    asked = before.manifest.asked
    why = ""
    if (asked.get("level"), asked.get("group", "")) != (request.level, request.group):
        why = "another export is landed"
    elif not asked.get("transaction_time"):
        why = "the landed export does not say of when it is"
    elif asked.get("types") != ",".join(sorted(request.types)):
        why = "other types were exported before"
    elif request.group and await _members(client, request.group) != _patients(before):
        why = "the members of the Group are others than those landed"
    if why:
        told(Step("asking", text=f"{why}: everything is exported"))
    return not why


async def _members(client: FhirClient, group: str) -> set[str] | None:
    """Patient ids of a Group's active members; None if that cannot be told."""
    try:
        found = await client.get(client.url(f"Group/{group}"), _Group, where="Group read")
    except SourceRefused:
        return None
    ids: set[str] = set()
    for member in found.member:
        if not member.inactive:
            ids |= subjects_of({"subject": member.entity})[0]
    return ids


def _patients(landing: Landing) -> set[str]:
    found = landing.resources(frozenset({"Patient"}))
    return {msgspec.json.decode(one.line, type=_Named).id for one in found if one.resource_type == "Patient"}


def _since(since: str, base: Landing) -> str:
    landed = base.manifest.asked["transaction_time"]
    if since == LAST:
        return landed
    try:
        late = datetime.fromisoformat(since) > datetime.fromisoformat(landed)
    except (ValueError, TypeError):
        raise ConfigError(f"{since!r} is no instant", where="--since", fix="2026-01-31T00:00:00Z") from None
    if late:
        raise ConfigError(
            "what changed before that day and after the last export would be missed",
            where="--since",
            fix=f"use --since last, or nothing later than {landed}",
        )
    return since


class _Member(msgspec.Struct):
    entity: dict[str, object] = {}
    inactive: bool = False


class _Group(msgspec.Struct):
    member: list[_Member] = []


class _Named(msgspec.Struct):
    id: str = ""
