"""Flags that rows of every kind share, in one canonical order."""

from __future__ import annotations

from collections.abc import Iterable

from adapter.model.dates import PartialDate


def flags_of(
    *named: str, dates: Iterable[PartialDate | None] = (), more: Iterable[str] = ()
) -> tuple[str, ...]:
    """The given flags without "" and doubles, sorted; TZ_ASSUMED if a time came without its offset (E-24)."""
    found = {*named, *more}
    found.discard("")
    for one in dates:
        if one is not None and one.zone_assumed:
            found.add("TZ_ASSUMED")
    return tuple(sorted(found)) if found else ()
