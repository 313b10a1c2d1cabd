"""Try one search of a server for real, reading one page of one entry: does it answer what was asked?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from adapter.errors import SourceRefused
from adapter.source.client import FhirClient
from adapter.source.search import ignored_parameters


class Probe(msgspec.Struct, frozen=True):
    """``refused`` says why there was no answer, ``ignored`` names parameters the server did not use;
    ``entries`` are what the page held and may be personal data."""

    refused: str = ""
    ignored: tuple[str, ...] = ()
    entries: tuple[dict[str, Any], ...] = ()
    says_what_it_used: bool = True


class _Item(msgspec.Struct):
    resource: dict[str, Any] = {}


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    resourceType: str = ""
    link: list[_Link] = []
    entry: list[_Item] = []


async def probe(client: FhirClient, kind: str, params: Mapping[str, str], *, count: int = 1) -> Probe:
    """Search once. Raises what the client raises but for refusals, which are an answer here."""
    where = f"{kind} search"
    try:
        page = await client.get(client.url(kind, {**params, "_count": str(count)}), _Page, where=where)
    except SourceRefused as refusal:
        return Probe(refused=getattr(refusal, "reason", refusal.message))
    if page.resourceType != "Bundle":
        return Probe(refused=f"{page.resourceType or 'no resource'} instead of a Bundle")
    used = next((link.url for link in page.link if link.relation == "self"), "")
    return Probe(
        ignored=tuple(ignored_parameters(used, params)) if used else (),
        entries=tuple(item.resource for item in page.entry if item.resource.get("resourceType") == kind),
        says_what_it_used=bool(used),
    )
