"""Which records of different datasets belong together (RELREC): they rest on the same record of the hospital.

A response and the readings it was judged by, a constant-dose interval and the doses it was made of, a biopsy
and what was seen in it. Source: SDTMIG 3.4, section 8.3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from adapter.exports.origin import Origin
from adapter.exports.participation import Relation

_PAIRS = {"RS": ("LB", "IS", "VS"), "EX": ("EC",)}
"""From the record that was made to the datasets of what it was made from."""
_BIOPSY = ("PR", "MI")

Place = tuple[str, str]
Linked = dict[str, list[Relation]]


def relations(origins: Iterable[Origin], days: dict[tuple[str, str, int], str]) -> Linked:
    """RELREC rows by USUBJID. ``days`` are the dates of PR and MI rows by (dataset, USUBJID, number).

    Findings of microscopy belong to the only procedure of the same day; where there are two, nobody knows.
    """
    made: dict[tuple[str, str, int], set[Place]] = defaultdict(set)
    owners: dict[tuple[str, Place], list[tuple[str, int]]] = defaultdict(list)
    known = {name for names in _PAIRS.values() for name in names}
    for one in origins:
        place = (one.source.reference, one.source.path)
        if one.dataset in _PAIRS:
            made[(one.usubjid, one.dataset, one.number)].add(place)
        elif one.dataset in known:
            owners[(one.usubjid, place)].append((one.dataset, one.number))
    found: Linked = defaultdict(list)
    for (usubjid, dataset, number), places in sorted(made.items()):
        parts = sorted(
            {part for place in places for part in owners[(usubjid, place)] if part[0] in _PAIRS[dataset]}
        )
        if parts:
            found[usubjid] += _group([(dataset, number), *parts])
    for usubjid, members in _biopsies(days):
        found[usubjid] += _group(members)
    return found


def _biopsies(days: dict[tuple[str, str, int], str]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    by_day: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    for (dataset, usubjid, number), day in sorted(days.items()):
        by_day[(usubjid, day)].append((dataset, number))
    for (usubjid, _), members in sorted(by_day.items()):
        procedures = [one for one in members if one[0] == _BIOPSY[0]]
        seen = [one for one in members if one[0] == _BIOPSY[1]]
        if len(procedures) == 1 and seen:
            yield usubjid, [*procedures, *seen]


def _group(members: list[tuple[str, int]]) -> Iterator[Relation]:
    group = "{}{}".format(*members[0])
    for dataset, number in members:
        yield Relation(dataset, f"{dataset}SEQ", str(number), group)
