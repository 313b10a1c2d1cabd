"""How codes and words are found: diagnoses by prefix and range, answers by wording, routes and specimens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from adapter.mappers.terminology.phrases import Phrases, split_icd
from adapter.mappers.terminology.tables import read_conditions
from adapter.model.terminology import (
    UNVERIFIED,
    AnswerEntry,
    CodeEntry,
    Concept,
    RouteEntry,
    SpecimenEntry,
)
from adapter.model.wording import folded

W = TypeVar("W", RouteEntry, SpecimenEntry)

# A word of negation that no known answer accounts for: the text means something the tables do not know.
_NEGATIONS = Phrases({word: word for word in (
    "非", "无", "未", "不", "没", "否", "no", "not", "non", "without", "never", "cannot", "unable",
)})  # fmt: skip
_JOINED = ("-", "~", "/", "+", "至", "到", "和", "、", "to", "and")


class ConditionIndex:
    """Diagnosis codes by prefix, range or equality, and diagnosis wordings."""

    def __init__(self, root: Path, concepts: Mapping[str, Concept]) -> None:
        self._starts: dict[tuple[str, str], list[CodeEntry]] = {}
        self._equal: dict[tuple[str, str], list[CodeEntry]] = {}
        self._ranges: list[tuple[str, str, CodeEntry]] = []
        self.rows = tuple(read_conditions(root, concepts))
        words: dict[str, tuple[CodeEntry, ...]] = {}
        for match, entry in self.rows:
            if match == "contains":
                words[entry.code] = (*words.get(entry.code, ()), entry)
            elif match == "range":
                first, _, last = entry.code.partition("-")
                self._ranges.append((first, last, entry))
            else:
                table = self._starts if match == "prefix" else self._equal
                table.setdefault((entry.system, entry.code), []).append(entry)
        self._words: Phrases[tuple[CodeEntry, ...]] = Phrases(words)

    def of(self, system: str, code: str) -> tuple[CodeEntry, ...]:
        if system not in ("icd-10", "icd-10-cm"):
            return tuple(self._equal.get((system, code), ()))
        found: dict[str, CodeEntry] = {}
        for part in split_icd(code, extensions=system == "icd-10"):
            # Only the first four characters are the WHO's; what follows differs between Chinese hospitals.
            known = part[:5] if system == "icd-10" else part
            for length in range(len(known), 2, -1):
                for entry in self._starts.get((system, known[:length]), ()):
                    found.setdefault(entry.concept, entry)
            for first, last, entry in self._ranges:
                if entry.system == system and first <= known[:3] <= last:
                    found.setdefault(entry.concept, entry)
        return tuple(found.values())

    def entries(self) -> tuple[CodeEntry, ...]:
        """Every code, range and wording, whatever it may be used for."""
        return tuple(entry for _, entry in self.rows)

    def in_text(self, text: str) -> tuple[CodeEntry, ...]:
        found: dict[str, CodeEntry] = {}
        for item in self._words.within(text)[0]:
            for entry in item.value:
                found.setdefault(entry.concept, entry)
        return tuple(found.values())


def stems(match: str, code: str) -> list[str]:
    """What a pattern of ``conditions.csv`` looks like inside a longer code, with and without the dot.

    >>> stems("range", "B20-B24"), stems("prefix", "N04.2"), stems("contains", "膜性肾病")
    (['B20', 'B21', 'B22', 'B23', 'B24'], ['N04.2', 'N042'], ['膜性肾病'])
    """
    if match == "range":
        first, _, last = code.partition("-")
        third = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        between = (first[0] + tens + units for tens in "0123456789" for units in third)
        return [stem for stem in between if first <= stem <= last and (stem[2].isdigit() or stem == last)]
    return [code, code.replace(".", "")] if match == "prefix" and "." in code else [code]


class AnswerIndex:
    """Answers by code and by wording; the answers of one concept are asked before the general ones."""

    def __init__(self, entries: Iterable[AnswerEntry]) -> None:
        self._codes: dict[tuple[str, str, str], AnswerEntry] = {}
        exact: dict[str, dict[str, AnswerEntry]] = {}
        within: dict[str, dict[str, AnswerEntry]] = {}
        for entry in entries:
            if entry.system != "text":
                self._codes[(entry.concept, entry.system, entry.text)] = entry
                continue
            exact.setdefault(entry.concept, {})[entry.text] = entry
            if not entry.exact:
                within.setdefault(entry.concept, {})[entry.text] = entry
        self._exact = {concept: Phrases(words) for concept, words in exact.items()}
        self._within = {concept: Phrases(words) for concept, words in within.items()}

    def by_code(self, system: str, code: str, concept: str) -> AnswerEntry | None:
        return self._codes.get((concept, system, code)) or self._codes.get(("", system, code))

    def by_text(self, text: str, ordinal: bool, concept: str) -> AnswerEntry | None:
        for scope in dict.fromkeys((concept, "")):
            if scope not in self._exact:
                continue
            entry = self._exact[scope].exactly(text)
            if entry is not None:
                return entry if ordinal or not entry.ordinal_only else None
            entry = self._inside(text, scope)
            if entry is not None:
                return entry
        return None

    def _inside(self, text: str, scope: str) -> AnswerEntry | None:
        found, rest = self._within[scope].within(text)
        meanings = {item.value.meaning for item in found}
        if len(meanings) != 1 or _NEGATIONS.within(rest)[0]:
            return None
        before = folded(text)[: found[0].start].rstrip()
        if scope and before.endswith(_JOINED):
            return None  # "I + II期": the first half of a mixed answer the tables do not hold
        return found[0].value


class WordIndex(Generic[W]):
    """Codes and words of one kind. ``order`` ranks kinds that stand together; without it they must agree."""

    def __init__(
        self, entries: Iterable[tuple[str, W]], kind: Callable[[W], str], order: tuple[str, ...] = ()
    ) -> None:
        self._codes: dict[tuple[str, str], W] = {}
        words: dict[str, W] = {}
        for system, entry in entries:
            if system == "text":
                words[entry.text] = entry
            else:
                self._codes[(system, entry.text)] = entry
        self._words: Phrases[W] = Phrases(words)
        self._kind: Callable[[W], str] = kind
        self._order = order

    def find(self, codes: Iterable[tuple[str, str]], text: str) -> W | None:
        """By code if a verified one is known, else by the words of ``text``."""
        coded = [
            entry for key in codes if (entry := self._codes.get(key)) and entry.verification not in UNVERIFIED
        ]
        return self._one(coded) or self._one([item.value for item in self._words.within(text)[0]])

    def _one(self, entries: list[W]) -> W | None:
        kinds = {self._kind(entry): entry for entry in reversed(entries)}
        if len(kinds) == 1:
            return next(iter(kinds.values()))
        return next((kinds[kind] for kind in self._order if kind in kinds), None)
