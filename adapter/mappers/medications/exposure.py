"""Who really took what: orders weighed against dispenses and administrations, when all are read.

An order that was filled says nothing more about exposure than its fills do; an order that nothing answers is
presumed taken and says so (flag REQUEST_ONLY, E-39). Source: protocol rule E5, "exposure end".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import msgspec

from adapter.mappers import r4
from adapter.mappers.index import parse_reference
from adapter.model.facts import Intervention
from adapter.model.wording import folded

_LINK = "FILLS "


def link(request: r4.Reference) -> str:
    """A passing flag that names the order a row fills; :func:`settle` reads it and takes it away."""
    target = parse_reference(request.reference or "")
    return f"{_LINK}MedicationRequest/{target.id}" if target else ""


def settle(interventions: Iterable[Intervention]) -> tuple[Intervention, ...]:
    """Mark each order as ``FILLED`` (excluded) or ``REQUEST_ONLY`` (flag); order of rows is kept.

    A fill is a usable dispense or administration of the same subject and drug that refers to the order or
    overlaps the time it was valid. A dispense whose supply is not known lasts as long as its order
    (flag END_FROM_ORDER).
    """
    rows = tuple(interventions)
    orders: dict[tuple[str, str], list[Intervention]] = {}
    fills: dict[tuple[str, str], list[Intervention]] = {}
    for row in rows:
        if row.excluded:
            continue
        if row.kind == "order":
            orders.setdefault(_key(row), []).append(row)
        elif row.kind in ("dispense", "administration"):
            fills.setdefault(_key(row), []).append(row)
    return tuple(_settled(row, orders.get(_key(row), ()), fills.get(_key(row), ())) for row in rows)


def _settled(
    row: Intervention, orders: Sequence[Intervention], fills: Sequence[Intervention]
) -> Intervention:
    if row.kind == "order" and not row.excluded:
        if any(_answers(fill, row) for fill in fills):
            return msgspec.structs.replace(row, excluded="FILLED")
        return msgspec.structs.replace(row, flags=tuple(sorted({*row.flags, "REQUEST_ONLY"})))
    if row.kind == "dispense" and row.exposure_end is None and not row.excluded:
        ends = [one.exposure_end for one in orders if one.exposure_end and _answers(row, one)]
        if ends:
            last = max(ends, key=lambda one: (one.last, one.order))
            flags = {*_without_links(row), "END_FROM_ORDER"} - {"END_UNKNOWN"}
            return msgspec.structs.replace(row, exposure_end=last, end=last, flags=tuple(sorted(flags)))
    return msgspec.structs.replace(row, flags=_without_links(row))


def _key(row: Intervention) -> tuple[str, str]:
    """Subject and drug; a drug that no table knows by its code, else its name; one without either alone."""
    if row.concept or row.code.code:
        return row.subject, row.concept or f"{row.code.system}|{row.code.code}"
    return row.subject, folded(row.code.display) or row.source.reference


def _answers(fill: Intervention, order: Intervention) -> bool:
    if f"{_LINK}{order.source.reference}" in fill.flags:
        return True
    if fill.start is None or order.start is None:
        return False
    fill_end = fill.exposure_end.last if fill.exposure_end else fill.start.last
    order_end = order.exposure_end.last if order.exposure_end else _open_end(order)
    return fill.start.first <= order_end and order.start.first <= fill_end


def _open_end(order: Intervention) -> date:
    """An order without an end lasts on while it is active; else only its first days are certain."""
    if order.ongoing or order.start is None:
        return date.max
    return order.start.last


def _without_links(row: Intervention) -> tuple[str, ...]:
    return tuple(flag for flag in row.flags if not flag.startswith(_LINK))
