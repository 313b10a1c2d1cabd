"""What a subject went through in the study: elements, visits, milestones and responses, one row each.

They are facts like those of the hospital, but made of several of them; :mod:`journey` makes them.
Source: SDTMIG 3.4, sections 5 (SE, SV), 6.2.3 (DS) and 6.3.9 (RS).
"""

from __future__ import annotations

from fractions import Fraction

import msgspec

from adapter.model.facts import Source


class LivedElement(msgspec.Struct, frozen=True):
    """A planned element that the subject entered; ``end`` is the start of the next one, "" if it runs."""

    code: str
    name: str
    order: int | None
    epoch: str
    start: str
    end: str
    unplanned: str = ""


class SubjectVisit(msgspec.Struct, frozen=True):
    """A planned visit: ``occurred`` Y with its first and last day, or N when its window passed.

    An unscheduled one has neither ``day`` nor ``occurred`` nor ``prespecified``, but a ``description``.
    """

    number: int | Fraction
    name: str
    day: int | None
    occurred: str
    start: str = ""
    end: str = ""
    prespecified: str = "Y"
    description: str = ""


class Disposition(msgspec.Struct, frozen=True):
    """A protocol milestone or how participation ended, in controlled terms; ``on`` is ISO 8601."""

    term: str
    decoded: str
    category: str
    subcategory: str
    on: str
    sources: tuple[Source, ...] = ()


class VisitResponse(msgspec.Struct, frozen=True):
    """The response the protocol's table gives at a planned visit, from the readings in ``sources``."""

    visit: str
    response: str
    on: str
    sources: tuple[Source, ...] = ()


class Relation(msgspec.Struct, frozen=True):
    """One side of a relation of two records (RELREC)."""

    domain: str
    variable: str
    value: str
    group: str


class Qualifier(msgspec.Struct, frozen=True):
    """A value of a record that its dataset has no variable for (SUPP--)."""

    domain: str
    variable: str
    value: str
    name: str
    label: str
    text: str
    origin: str
    evaluator: str = ""
