"""One FHIR search, page by page, believing nothing it can check.

``next`` is followed as given (same server only) and never built; pages that repeat themselves are a loop;
an entry is taken once by type, id and version. The ``self`` link says which parameters the server used:
one it left out was ignored, and what came is not what was asked. Source: FHIR R4 search.html, sections
"Server Conformance" and "Paging"; http.html#paging.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec

from adapter.errors import SourceUntrustworthy
from adapter.model.issue import Issue
from adapter.source.client import FhirClient, Refusal
from adapter.source.dialects import STANDARD, Dialect, codes_of

MAX_PAGES = 100_000
_RESULT_PARAMETERS = frozenset(
    {"_count", "_elements", "_format", "_pretty", "_summary", "_include", "_revinclude", "_sort"}
)


class Entry(msgspec.Struct, frozen=True):
    """One resource as received; ``where`` is ``search:page.entry`` without ids."""

    raw: bytes
    resource_type: str
    id: str
    version: str
    where: str
    included: bool = False


class Found(msgspec.Struct):
    """What a search gave, and whether that is all of it; ``reason`` says why not, ``limited`` that all which
    was asked for came, ``refused`` that some of it was refused from the start and nothing else is wrong."""

    entries: list[Entry]
    issues: list[Issue]
    reason: str = ""
    limited: bool = False
    refused: bool = False

    @property
    def complete(self) -> bool:
        return not self.reason


class _Mode(msgspec.Struct):
    mode: str = ""


class _Item(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw()
    search: _Mode = msgspec.field(default_factory=_Mode)


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Page(msgspec.Struct):
    resourceType: str = ""
    type: str = ""
    total: int | None = None
    link: list[_Link] = []
    entry: list[_Item] = []
    issue: list[dict[str, Any]] = []

    def to(self, relation: str) -> str:
        return next((link.url for link in self.link if link.relation == relation), "")


class _Meta(msgspec.Struct):
    versionId: str = ""
    lastUpdated: str = ""


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""
    meta: _Meta = msgspec.field(default_factory=_Meta)


_HEAD = msgspec.json.Decoder(_Head)


async def search(
    client: FhirClient,
    resource_type: str,
    params: Mapping[str, str],
    *,
    belongs: Callable[[bytes], bool] = lambda raw: True,
    count: int | None = None,
) -> Found:
    """Search one type and read every page.

    ``belongs`` checks each match against what was asked, for servers that ignore a parameter: what does
    not belong is left out and counted. ``count`` is the size of a page, the dialect's unless given. Raises
    :class:`~adapter.source.client.Refusal` when the first page is refused, SourceUnavailable and
    SourceUntrustworthy as the client does.

    Where the server's dialect wants a category, each is asked for; what they find together is a part, since a
    resource may have another category or none.
    """
    categories = client.dialect.categories.get(resource_type, ())
    if categories and not {"_id", "category", "code"} & {name.partition(":")[0] for name in params}:
        return await _by_category(client, resource_type, params, categories, belongs, count)
    return await _search(client, resource_type, params, belongs, count)


async def _by_category(
    client: FhirClient,
    resource_type: str,
    params: Mapping[str, str],
    categories: tuple[str, ...],
    belongs: Callable[[bytes], bool],
    count: int | None,
) -> Found:
    whole = Found([], [], f"searched by category only: {', '.join(categories)}")
    taken: set[tuple[str, str, str]] = set()
    refused: Refusal | None = None
    answered = lost = False
    for category in categories:
        try:
            part = await _search(client, resource_type, {**params, "category": category}, belongs, count)
        except Refusal as refusal:
            if refusal.meaning == "glass":
                raise
            refused = refused or refusal
            continue
        answered = True
        for entry in part.entries:
            key = (entry.resource_type, entry.id, entry.version)
            whole.entries += [] if key in taken else [entry]
            taken.add(key)
        whole.issues += part.issues
        whole.reason = part.reason or whole.reason
        lost = lost or bool(part.reason)
    if refused is not None and not answered:
        raise refused
    whole.limited = refused is None and not lost
    whole.refused = refused is not None and not lost
    whole.reason = refused.reason if refused is not None else whole.reason
    return whole


async def _search(
    client: FhirClient,
    resource_type: str,
    params: Mapping[str, str],
    belongs: Callable[[bytes], bool],
    count: int | None,
) -> Found:
    reading = _Reading(resource_type, params, belongs, client.dialect)
    first = client.url(resource_type, {**params, "_count": str(count or client.dialect.page)})
    for restart in (False, True):
        if await reading.pages(client, first, may_restart=not restart):
            break
    reading.settle()
    return reading.found


class _Reading:
    """The state of one search: what was seen, what was taken, what is wrong."""

    def __init__(
        self,
        resource_type: str,
        params: Mapping[str, str],
        belongs: Callable[[bytes], bool],
        dialect: Dialect = STANDARD,
    ) -> None:
        self._dialect = dialect
        self._type = resource_type
        self._params = params
        self._belongs = belongs
        self._taken: set[tuple[str, str, str]] = set()
        self._matches: set[tuple[str, str, str]] = set()
        self._foreign = 0
        self._totals: set[int] = set()
        self.found = Found([], [])

    async def pages(self, client: FhirClient, first: httpx.URL, *, may_restart: bool) -> bool:
        """Read all pages; False if the paging session expired and a restart may help."""
        url, seen = first, set()
        for number in range(1, MAX_PAGES + 1):
            seen.add(str(url))
            where = f"{self._type} search, page {number}"
            try:
                page = await client.get(url, _Page, where=where)
                self._check(page, where)
            except Refusal as refusal:
                if number == 1:
                    raise
                if refusal.meaning == "glass":
                    self._incomplete("BREAK_THE_GLASS", refusal.reason)
                    return True
                if not may_restart:
                    self._incomplete("PAGING_EXPIRED", f"HTTP {refusal.status} on page {number}")
                return not may_restart
            self._take(page, number)
            if number == 1 and self._ignored(page.to("self")):
                return True
            link = page.to("next")
            if not link:
                return True
            url = client.linked(link, client.base, where)
            if str(url) in seen:
                self._incomplete("PAGING_LOOP", f"page {number} leads back to an earlier page")
                return True
        self._incomplete("PAGING_LOOP", f"more than {MAX_PAGES} pages")
        return True

    def settle(self) -> None:
        """Compare totals once everything was read; say how much did not belong."""
        if len(self._totals) > 1:
            self._incomplete("TOTAL_CHANGED", "the total changed between pages: the data moved underneath")
        elif self._totals and len(self._matches) < max(self._totals):
            detail = f"the server counts {max(self._totals)}, its pages held {len(self._matches)}"
            self._incomplete("COUNT_MISMATCH", detail)
        if self._foreign:
            self._issue("NOT_ASKED_FOR", "warning", f"{self._foreign} entries were not what was asked for")

    def _check(self, page: _Page, where: str) -> None:
        if page.resourceType == "OperationOutcome":
            codes = ", ".join(_plain(issue.get("code")) for issue in page.issue)
            meaning = self._dialect.meaning(codes_of(page.issue))
            raise Refusal(200, where, f"OperationOutcome ({codes}) instead of a Bundle", meaning)
        if page.resourceType != "Bundle":
            raise SourceUntrustworthy("the answer is no Bundle", where=where, fix="check base_url")
        if page.total is not None:
            if self._dialect.estimates:
                self._totals.clear()
            self._totals.add(page.total)

    def _take(self, page: _Page, number: int) -> None:
        for at, item in enumerate(page.entry):
            raw = bytes(item.resource)
            if not raw:
                continue
            try:
                head = _HEAD.decode(raw)
            except msgspec.DecodeError:
                self._incomplete("MALFORMED_ENTRY", f"page {number}, entry {at} is no resource")
                continue
            if head.resourceType == "OperationOutcome" or item.search.mode == "outcome":
                self._outcome(raw)
                continue
            key = (head.resourceType, head.id, head.meta.versionId or head.meta.lastUpdated)
            included = item.search.mode == "include" or head.resourceType != self._type
            if not included:
                self._matches.add(key)
            if key in self._taken:
                continue
            self._taken.add(key)
            if not included and not self._belongs(raw):
                self._foreign += 1
                continue
            where = f"{self._type}:{number}.{at}"
            self.found.entries.append(Entry(raw, head.resourceType, head.id, key[2], where, included))

    def _outcome(self, raw: bytes) -> None:
        """The server's remarks: codes only, since diagnostics may repeat what was asked."""
        issues = msgspec.json.decode(raw).get("issue", ())
        severities = {str(issue.get("severity")) for issue in issues}
        codes = ", ".join(sorted({_plain(issue.get("code")) for issue in issues}))
        meaning = self._dialect.meaning(codes_of(issues))
        if meaning == "glass":
            self._incomplete("BREAK_THE_GLASS", "records behind break-the-glass were left out")
        elif meaning == "capped":
            self._incomplete("SEARCH_CAPPED", "the server cut the result off at a limit of its own")
        if severities & {"error", "fatal"}:
            self._incomplete("SEARCH_OUTCOME", f"the server reports errors: {codes}")
        else:
            self._issue("SEARCH_OUTCOME", "information", f"the server remarks: {codes}")

    def _ignored(self, self_link: str) -> bool:
        """Whether the server left a parameter out; then further pages would be of another search."""
        if not self_link:
            self._issue("SELF_LINK_MISSING", "warning", "the server does not say which parameters it used")
            return False
        ignored = ignored_parameters(self_link, self._params)
        if ignored:
            self._incomplete("IGNORED_PARAMETER", f"the server ignored {', '.join(sorted(ignored))}")
        return bool(ignored)

    def _incomplete(self, code: str, detail: str) -> None:
        self._issue(code, "error", detail)
        self.found.reason = self.found.reason or code

    def _issue(self, code: str, severity: Any, detail: str) -> None:
        self.found.issues.append(Issue(code, severity, self._type, f"{self._type} search", detail=detail))


def ignored_parameters(self_link: str, params: Mapping[str, str]) -> list[str]:
    """Names of the parameters that the ``self`` link of an answer does not show as used."""
    used: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlsplit(self_link).query, keep_blank_values=True):
        used.setdefault(name, []).append(value)
    return [
        name
        for name, value in params.items()
        if name not in _RESULT_PARAMETERS and not any(_same(value, other) for other in used.get(name, ()))
    ]


def _same(asked: str, used: str) -> bool:
    """Whether a server used a value as asked; it may add or leave out the type or base of a reference."""
    return _bare(asked) == _bare(used)


def _bare(value: str) -> frozenset[str]:
    return frozenset(re.sub(r"^(?:https?://.*/)?[A-Z][A-Za-z]+/", "", part) for part in value.split(","))


def _plain(code: object) -> str:
    return str(code) if re.fullmatch(r"[a-z-]{1,40}", str(code)) else "other"
