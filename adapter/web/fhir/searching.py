"""A search: what was asked, refused where it is not understood, and answered page by page.

A page is named by the last resource of the page before, in the order of the search, so that what is written
meanwhile shifts nothing: whatever was there all the time comes exactly once. Source:
https://hl7.org/fhir/R4/search.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import NamedTuple, Protocol
from urllib.parse import urlencode

from adapter.store.parameters import TYPES, Json, Parameter, parameter, relative
from adapter.web.fhir.spans import Span, holds, kept, span_of
from adapter.web.interactions import Refused

PAGE, LONGEST = 200, 1000
_PREFIXED = re.compile(r"(eq|ne|gt|lt|ge|le|sa|eb|ap)?(\d.*)")
_ORDERS = ("_id", "_lastUpdated", "-_lastUpdated")
_AFTER = "_after"
_IGNORED = frozenset({"_format", "_pretty"})  # how the answer is written, not what is in it


class Dated(NamedTuple):
    """One date asked for; a resource has to satisfy one of the alternatives."""

    name: str
    alternatives: tuple[tuple[str, Span], ...]


class Search(NamedTuple):
    """What was asked. ``values`` and ``dates`` must all be satisfied; ``asked`` is what goes into links."""

    kind: str
    values: tuple[tuple[str, frozenset[str]], ...]
    dates: tuple[Dated, ...]
    order: str
    size: int
    total: bool
    after: tuple[str, str] | None
    asked: tuple[tuple[str, str], ...]


class Source(Protocol):
    """Where the resources of a type are: matching ids, what they are found under, and the bodies."""

    def matching(self, kind: str, values: Iterable[tuple[str, frozenset[str]]]) -> Mapping[str, int]: ...
    def values(self, kind: str, name: str) -> Mapping[str, frozenset[str]]: ...
    def read(self, kind: str, key: str, version: int) -> Json | None: ...


class Page(NamedTuple):
    """``total`` is None where it was not wanted; ``after`` leads to the next page, "" at the end."""

    resources: tuple[Json, ...]
    total: int | None
    after: str


def understood(kind: str, parameters: Iterable[tuple[str, str]], zone: tzinfo) -> Search:
    """Raises :class:`Refused` for whatever is not understood: an ignored parameter is a wrong answer."""
    values: list[tuple[str, frozenset[str]]] = []
    dates: list[Dated] = []
    controls: dict[str, str] = {}
    asked: list[tuple[str, str]] = []
    for name, value in parameters:
        if name in _IGNORED:
            continue
        if name in ("_count", "_sort", "_total", _AFTER):
            controls[name] = value
            continue
        wanted, targets = _named(kind, name)
        if not value:
            raise Refused(400, "invalid", f"{wanted.name} has no value")
        alternatives = _alternatives(value)
        if wanted.kind == "date":
            dates.append(Dated(wanted.name, tuple(_date(wanted, one, zone) for one in alternatives)))
        else:
            found = {form for one in alternatives for form in _forms(wanted, one, targets)}
            values.append((wanted.name, frozenset(found)))
        asked.append((name, value))
    order = controls.get("_sort", "_id")
    if order not in _ORDERS:
        raise Refused(400, "not-supported", f"_sort is one of {', '.join(_ORDERS)}")
    total = controls.get("_total", "accurate")
    if total not in ("none", "estimate", "accurate"):
        raise Refused(400, "invalid", "_total is none, estimate or accurate")
    shown = [(name, controls[name]) for name in ("_sort", "_count", "_total") if name in controls]
    return Search(
        kind,
        tuple(values),
        tuple(dates),
        order,
        page_size(controls.get("_count")),
        total != "none",
        _after(controls.get(_AFTER)),
        (*asked, *shown),
    )


def page(search: Search, source: Source, zone: tzinfo) -> Page:
    """One page of it. Bodies are read for this page alone."""
    found = dict(source.matching(search.kind, search.values))
    for dated in search.dates:
        dates = source.values(search.kind, dated.name)
        found = {
            key: version for key, version in found.items() if _meets(dated, dates.get(key, frozenset()), zone)
        }
    updated = source.values(search.kind, "_lastUpdated") if search.order != "_id" else {}
    order = [(_moment(updated.get(key, frozenset()), zone), key) for key in found]
    order.sort(reverse=search.order.startswith("-"))
    if search.after is not None:
        forward = not search.order.startswith("-")
        order = [at for at in order if (at > search.after if forward else at < search.after)]
    chosen = order[: search.size]
    bodies = (source.read(search.kind, key, found[key]) for _, key in chosen)
    after = "~".join(chosen[-1]) if chosen and len(order) > len(chosen) else ""
    return Page(tuple(one for one in bodies if one), len(found) if search.total else None, after)


def searchset(search: Search, found: Page, base: str) -> Json:
    """The Bundle; ``base`` is the endpoint's own address, without a slash."""
    here = f"{base}/{search.kind}"
    shown = [*search.asked, *([(_AFTER, "~".join(search.after))] if search.after else [])]
    links = [{"relation": "self", "url": _url(here, shown)}]
    if found.after:
        links.append({"relation": "next", "url": _url(here, [*search.asked, (_AFTER, found.after)])})
    bundle: Json = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if found.total is not None:
        bundle["total"] = found.total
    entries = [
        {"fullUrl": f"{here}/{one['id']}", "resource": one, "search": {"mode": "match"}}
        for one in found.resources
    ]
    return {**bundle, "entry": entries} if entries else bundle


def _named(kind: str, name: str) -> tuple[Parameter, tuple[str, ...]]:
    """The parameter, and the types that a bare id may mean; Refused with what there is instead."""
    plain, _, modifier = name.partition(":")
    if "." in plain or plain == "_has":
        raise Refused(400, "not-supported", "chained parameters and _has are not supported here")
    if plain in ("_include", "_revinclude", "_summary", "_elements", "_contained", "_filter", "_query"):
        raise Refused(400, "not-supported", f"{plain} is not supported here")
    known = parameter(kind, plain)
    if known is None:
        names = ", ".join(one.name for one in TYPES[kind])
        raise Refused(
            400, "not-supported", f"{kind} has no search parameter of this name here; it has {names}"
        )
    if modifier and modifier not in known.targets:
        raise Refused(400, "not-supported", f"{known.name} takes no modifier of this name here")
    return known, (modifier,) if modifier else known.targets


def _forms(wanted: Parameter, value: str, targets: tuple[str, ...]) -> Iterable[str]:
    if wanted.kind != "reference" or ("://" in value and relative(value) == value):
        return (value,)
    if "/" in value:
        return (relative(value),)
    if not targets:
        raise Refused(400, "invalid", f"{wanted.name} needs a type: Type/id")
    return tuple(f"{target}/{value}" for target in targets)


def _date(wanted: Parameter, value: str, zone: tzinfo) -> tuple[str, Span]:
    prefixed = _PREFIXED.fullmatch(value)
    span = span_of(prefixed[2], zone) if prefixed else None
    if prefixed is None or span is None:
        raise Refused(
            400, "invalid", f"{wanted.name} is a date with a prefix eq, ne, gt, lt, ge, le, sa or eb"
        )
    if prefixed[1] == "ap":
        raise Refused(400, "not-supported", "the prefix ap is not supported: name the days that are meant")
    return prefixed[1] or "eq", span


def _meets(dated: Dated, dates: Iterable[str], zone: tzinfo) -> bool:
    targets = [span for one in dates if (span := kept(one, zone)) is not None]
    return any(holds(prefix, asked, target) for prefix, asked in dated.alternatives for target in targets)


def _moment(dates: Iterable[str], zone: tzinfo) -> str:
    spans = [span for one in dates if (span := kept(one, zone)) is not None]
    return min((span.first.isoformat(timespec="microseconds") for span in spans), default="")


def _alternatives(value: str) -> list[str]:
    """The parts between commas, ``\\,`` and ``\\|`` and ``\\$`` being the signs themselves."""
    parts = re.split(r"(?<!\\),", value)
    return [re.sub(r"\\([,|$\\])", r"\1", one) for one in parts if one]


def page_size(text: str | None) -> int:
    if text is None:
        return PAGE
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refused(400, "invalid", "_count is a whole number")
    return min(int(text), LONGEST)


def _after(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    first, sign, key = text.partition("~")
    if not sign or not key:
        raise Refused(410, "expired", "this link to a page is of no use any more; search again")
    return first, key


def _url(base: str, parameters: Iterable[tuple[str, str]]) -> str:
    query = urlencode(list(parameters))
    return f"{base}?{query}" if query else base
