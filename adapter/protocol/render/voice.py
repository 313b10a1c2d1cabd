"""Who speaks: one language's phrases and the names of concepts, drugs and days in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Literal

import msgspec

from adapter.model.protocol import Vocabulary
from adapter.protocol.render import words_en, words_zh

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
_WORDS: Mapping[Language, ModuleType] = {"en": words_en, "zh": words_zh}


class Voice(msgspec.Struct, frozen=True):
    """``names`` maps concept and drug keys to names; a key without one stands for itself."""

    language: Language
    vocabulary: Vocabulary
    names: Mapping[str, str] = {}

    def phrase(self, key: str, **blanks: object) -> str:
        """One phrase with its blanks filled; an unknown key is a mistake of the caller (KeyError)."""
        phrases: Mapping[str, str] = _WORDS[self.language].PHRASES
        return phrases[key].format(**blanks)

    def knows(self, key: str) -> bool:
        return key in _WORDS[self.language].PHRASES

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
        implied = {
            narrower
            for concept in concepts
            if concept in self.vocabulary.concepts
            for narrower in self.vocabulary.with_narrower(concept)[1:]
        }
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

    def count(self, number: int, unit: str) -> str:
        """The word for a unit of time: one day, two days."""
        return self.phrase(unit.removesuffix("s") if abs(number) == 1 else unit)
