"""What an unknown code or unit may mean: likeness of names, and what the numbers themselves say.

A suggestion is a place to look. It is never applied by itself: a person proposes, another approves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction

import msgspec
from rapidfuzz import fuzz, process

from adapter.mappers.terminology import Terminology
from adapter.mappers.terminology.files import exact_number
from adapter.mapping.unmapped import Class, Seen, Unmapped
from adapter.model.terminology import AS_REPORTED, UnitEntry
from adapter.model.wording import folded

# Of 100. Frusemide (呋塞米) is half like dexamethasone (地塞米松): a name alone has to be close. Where the
# numbers fit too, less will do: a laboratory adds words of its own.
_CLOSE, _LIKE = 75, 45
_MOST = 3
_REMARK = re.compile(r"[(\[].*?[)\]]")


class Suggestion(msgspec.Struct, frozen=True):
    """``name`` is the known name that the text is like, ``likeness`` how much (0 to 100).

    ``unit`` is an accepted unit. ``plausible`` of ``numbers`` samples lie in the range that is usual for the
    concept if they are in that unit.
    """

    concept: str
    unit: str = ""
    name: str = ""
    likeness: int = 0
    plausible: int = 0
    numbers: int = 0


def suggestions(row: Unmapped, terminology: Terminology) -> tuple[Suggestion, ...]:
    """The best first, three at most; none where nothing speaks for any."""
    found = _concepts(row, terminology) if row.kind == "code" else _units(row, terminology)
    return tuple(sorted(found, key=_rank)[:_MOST])


def _rank(one: Suggestion) -> tuple[Fraction, int, str, str]:
    share = Fraction(one.plausible, one.numbers) if one.numbers else Fraction(1, 2)
    return -share, -one.likeness, one.concept, one.unit


def _concepts(row: Unmapped, terminology: Terminology) -> Iterator[Suggestion]:
    """Concepts of the right class whose names are like the text, if the unit sent can be theirs."""
    for concept, (name, likeness) in _alike(row, terminology).items():
        known = terminology.concepts[concept]
        if row.about != "finding":
            if likeness >= _CLOSE:
                yield Suggestion(concept, "", name, likeness)
            continue
        units = {one.unit for one in row.samples if one.unit}
        entries = [terminology.unit_for(concept, unit) for unit in sorted(units)]
        if units and known.unit != AS_REPORTED and not any(entries):
            continue
        plausible, numbers = _plausible(row.samples, concept, terminology)
        if likeness < _CLOSE and not 0 < numbers <= 2 * plausible:
            continue
        yield Suggestion(concept, next(iter(sorted(units)), ""), name, likeness, plausible, numbers)


def _alike(row: Unmapped, terminology: Terminology) -> dict[str, tuple[str, int]]:
    """Concept -> the name of it that is most like the text, and how much."""
    text = folded(row.code.display)
    names = sorted(set(_names(row.about, terminology)))
    best: dict[str, tuple[str, int]] = {}
    for words in sorted({text, _REMARK.sub("", text).strip()} - {""}):
        found = process.extract(
            words, [name for name, _ in names], scorer=fuzz.token_set_ratio, score_cutoff=_LIKE, limit=None
        )
        for name, score, place in found:
            concept = names[place][1]
            if concept not in best or (-int(score), name) < (-best[concept][1], best[concept][0]):
                best[concept] = name, int(score)
    return best


def _names(about: Class, terminology: Terminology) -> Iterator[tuple[str, str]]:
    """Every known name of every concept of a class, normalised, and the concept."""
    if about == "intervention":
        for drug in terminology.drugs():
            for name in (*drug.names_en, *drug.names_zh):
                yield folded(name), drug.drug
        return
    kinds = {key for key, one in terminology.concepts.items() if one.kind == about}
    for key in kinds:
        concept = terminology.concepts[key]
        yield folded(concept.label_en), key
        yield folded(concept.label_zh), key
    for entry in terminology.entries():
        if entry.concept in kinds and entry.use != "NEVER" and entry.display:
            yield folded(entry.display), entry.concept


def _units(row: Unmapped, terminology: Terminology) -> Iterator[Suggestion]:
    """Accepted units of the concept, one for each conversion: by plausibility, then by spelling."""
    seen: set[tuple[Fraction, Fraction, str]] = set()
    for entry in terminology.units():
        if entry.concept != row.concept or entry.scale != "linear":
            continue
        if (step := (entry.factor, entry.offset, entry.unit)) in seen:
            continue
        seen.add(step)
        plausible, numbers = _within(row.samples, entry, terminology)
        likeness = int(fuzz.ratio(row.unit.casefold(), entry.spelling.casefold())) if row.unit else 0
        yield Suggestion(row.concept, entry.spelling, "", likeness, plausible, numbers)


def _plausible(samples: Iterable[Seen], concept: str, terminology: Terminology) -> tuple[int, int]:
    done = [
        _within((one,), entry, terminology)
        for one in samples
        if one.unit and (entry := terminology.unit_for(concept, one.unit)) is not None
    ]
    return sum(good for good, _ in done), sum(count for _, count in done)


def _within(samples: Iterable[Seen], entry: UnitEntry, terminology: Terminology) -> tuple[int, int]:
    """How many samples lie within the concept's usual range, and how many are plain numbers."""
    concept = terminology.concepts[entry.concept]
    bounds = concept.soft or concept.hard
    numbers = [number for one in samples if (number := exact_number(one.value.strip("<>="))) is not None]
    if bounds is None:
        return 0, 0
    return sum(bounds.contains(one * entry.factor + entry.offset) for one in numbers), len(numbers)
