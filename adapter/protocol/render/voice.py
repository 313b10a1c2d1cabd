"""Who speaks: one language's phrases and the names of concepts, drugs and days in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Literal

import msgspec

from adapter.model.protocol import Vocabulary
from adapter.protocol.render import headings_en, headings_zh, words_en, words_zh

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_WORDS: Mapping[Language, ModuleType] = {"en": words_en, "zh": words_zh}
_HEADINGS: Mapping[Language, ModuleType] = {"en": headings_en, "zh": headings_zh}


class Voice(msgspec.Struct, frozen=True):
    """``names`` maps concept and drug keys to names; a key without one stands for itself."""

    language: Language
    vocabulary: Vocabulary
    names: Mapping[str, str] = {}

    def phrase(self, key: str, **blanks: object) -> str:
        """One phrase with its blanks filled; an unknown key is a mistake of the caller (KeyError)."""
        phrases: Mapping[str, str] = _WORDS[self.language].PHRASES
        return phrases[key].format(**blanks)

    def heading(self, key: str, **blanks: object) -> str:
        """A heading or standing sentence of the page."""
        headings: Mapping[str, str] = _HEADINGS[self.language].HEADINGS
        return headings[key].format(**blanks)

    def name(self, key: str) -> str:
        """What a concept or drug is called."""
        own: Mapping[str, str] = _WORDS[self.language].NAMES
        if found := self.names.get(key) or own.get(key):
            return found
        if key in self.vocabulary.concepts:
            return self.vocabulary.concepts[key].label or key
        if key in self.vocabulary.drugs:
            return self.vocabulary.drugs[key].label or key
        return key

    def day(self, anchor: str) -> str:
        """What an anchor is called."""
        days: Mapping[str, str] = _WORDS[self.language].DAYS
        return days.get(anchor, anchor.replace("_", " "))

    def named(self, concepts: tuple[str, ...]) -> str:
        """The named concepts of an expanded tuple: those that are not there only as narrower than another."""
        known = [self.vocabulary.with_narrower(key) for key in concepts if key in self.vocabulary.concepts]
        implied = {key for family in known if set(family) <= set(concepts) for key in family[1:]}
        return self.one_of(self.name(key) for key in concepts if key not in implied)

    def one_of(self, items: Iterable[str]) -> str:
        return self.phrase("or").join(items)

    def both(self, items: Iterable[str]) -> str:
        return self.phrase("and").join(items)

    def bracketed(self, parts: Iterable[str]) -> str:
        """Details in one bracket, or nothing."""
        said = [part for part in parts if part]
        return self.phrase("bracket", text=self.phrase("comma").join(said)) if said else ""

    def quoted(self, text: str) -> str:
        return self.phrase("quote", text=text)

    def time(self, count: int, unit: str) -> tuple[int, str]:
        """A length of time as number and word; whole years from two on are said as years."""
        if unit == "months" and count >= 24 and count % 12 == 0:
            count, unit = count // 12, "years"
        return count, self.phrase(unit.removesuffix("s") if count == 1 else unit)
