"""Which record of the hospital a numbered row of a dataset was made from; it never leaves the site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from adapter.exports.participation import Disposition, VisitResponse
from adapter.exports.record import Exposure, Record
from adapter.model.facts import Event, Finding, Intervention, Source


class Origin(msgspec.Struct, frozen=True):
    """Row ``number`` (--SEQ) of ``usubjid`` in ``dataset`` says what ``source`` said about ``concept``.

    ``fact`` is the very fact if the row was made from one: a resource may give several of one concept.
    """

    dataset: str
    usubjid: str
    number: int
    concept: str
    source: Source
    fact: Finding | Event | Intervention | None = None


def origins_of(dataset: str, records: Iterable[Record]) -> Iterator[Origin]:
    """One for each source of each numbered row; rows that were merged into an equal one have none."""
    for record in records:
        number = record.values.get(f"{dataset}SEQ")
        if not isinstance(number, int):
            continue
        fact = record.fact
        if isinstance(fact, Finding | Event | Intervention):
            yield Origin(dataset, record.person.usubjid, number, fact.concept, fact.source, fact)
        elif isinstance(fact, Disposition | VisitResponse):
            for one in fact.sources:
                yield Origin(dataset, record.person.usubjid, number, "", one)
        elif isinstance(fact, Exposure):
            for place in fact.sources:
                reference, _, path = place.partition("#")
                source = Source(reference, path=path)
                yield Origin(dataset, record.person.usubjid, number, fact.concept, source)
