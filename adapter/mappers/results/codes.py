"""What an Observation is about: its codings against the tables, and what to do when they disagree.

Codings of unverified entries (V3, U) count only if nothing better is there. Two concepts, or one coding that
may feed a concept beside one that never may, are a conflict: the reading is kept for each concept named and
decides none (pitfall E-17).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from adapter.mappers import r4
from adapter.mappers.context import codings_of
from adapter.mappers.remembered import remembered_as_sent
from adapter.model.facts import Coding
from adapter.model.terminology import UNVERIFIED, CodeEntry

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

_CAUTION = {"AUTO": 0, "FLAG": 1, "SUPP": 2, "NEVER": 3}


class Meaning(NamedTuple):
    """``entries`` holds one entry per concept: none if unmapped, several only in a conflict.

    ``coding`` is the one the reading is shown with; ``corrupt`` lists codes that cannot be codes of their
    system (E-30: ``1.07E+16``).
    """

    entries: tuple[CodeEntry, ...]
    coding: Coding
    conflict: bool = False
    corrupt: tuple[str, ...] = ()


@remembered_as_sent
def meaning_of(concept: r4.CodeableConcept | None, terminology: Terminology) -> Meaning:
    """The one entry that all codings agree on, or what they disagree about."""
    codings = codings_of(concept)
    text = (concept.text if concept else "") or ""
    found: list[tuple[CodeEntry, Coding]] = []
    corrupt: list[str] = []
    for coding in codings:
        if coding.code and terminology.code_problem(coding.system, coding.code):
            corrupt.append(f"{terminology.system(coding.system)}|{coding.code[:40]}")
            continue
        wording = coding.display or text
        found += [
            (entry, coding)
            for entry in terminology.concepts_for_coding(coding.system, coding.code, wording)
            if terminology.concepts[entry.concept].kind == "finding"
        ]
    if not found and text:
        entry = terminology.concept_for_coding("", "", text)
        if entry is not None and terminology.concepts[entry.concept].kind == "finding":
            found.append((entry, Coding(display=text)))
    shown = found[0][1] if found else next(iter(codings), Coding())
    return _agree(found, shown, tuple(corrupt))


def _agree(found: list[tuple[CodeEntry, Coding]], shown: Coding, corrupt: tuple[str, ...]) -> Meaning:
    verified = [pair for pair in found if pair[0].verification not in UNVERIFIED]
    usable = verified or found
    by_concept: dict[str, list[CodeEntry]] = {}
    for entry, _ in usable:
        by_concept.setdefault(entry.concept, []).append(entry)
    chosen = tuple(_most_cautious(entries) for _, entries in sorted(by_concept.items()))
    mixed = any(
        {entry.use == "NEVER" for entry in entries} == {True, False} for entries in by_concept.values()
    )
    conflict = len(chosen) > 1 or mixed
    coding = next((coding for entry, coding in usable if entry in chosen), shown)
    return Meaning(chosen, coding, conflict, corrupt)


def _most_cautious(entries: list[CodeEntry]) -> CodeEntry:
    """A person of the site outranks the general tables; else the entry that may do least."""
    site = [entry for entry in entries if entry.verification == "SITE"]
    return max(site or entries, key=lambda entry: (_CAUTION[entry.use], entry.system, entry.code))
