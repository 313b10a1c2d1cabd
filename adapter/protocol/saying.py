"""What the engine says of a verdict, in English or, inside of :func:`speaking`, in another language.

Every reason, comparison and need is a phrase of this package with blanks: the phrase is the key of its
translation, the blanks are data. Results that are kept are always English: another language is spoken only
while somebody looks at them, by judging the same facts once more (:mod:`adapter.explaining`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Literal

import msgspec
import yaml

from adapter.errors import MappingError
from adapter.model.dates import counted
from adapter.protocol.render.sayings_zh import SAYINGS

Language = Literal["en", "zh"]

_WORDS: ContextVar[Mapping[str, str] | None] = ContextVar("words of another language", default=None)


def say(phrase: str, **blanks: object) -> str:
    """The phrase with its blanks filled; in English where there is no translation of it.

    >>> say("the date of {what}", what="biopsy")
    'the date of biopsy'
    """
    words = _WORDS.get()
    if words is not None:
        phrase = words.get(phrase, phrase)
    return phrase.format(**blanks) if blanks else phrase


def spoken(text: str) -> str:
    """A text of the protocol, or a word without blanks, in the language that is spoken."""
    words = _WORDS.get()
    return text if words is None else words.get(text, text)


def length(count: int, unit: Literal["days", "months"]) -> str:
    """``90 days``, ``1 month``."""
    number, _, word = counted(count, unit).partition(" ")
    return f"{number} {say(word)}"


@contextmanager
def speaking(words: Mapping[str, str]) -> Iterator[None]:
    """Within the block, in this thread and its tasks alone, phrases are said by ``words``."""
    token = _WORDS.set(words)
    try:
        yield
    finally:
        _WORDS.reset(token)


def sayings(language: Language, folder: Path) -> Mapping[str, str]:
    """What phrases, and the texts of the protocol in a folder, are in a language; nothing for English.

    Texts of the protocol lie in ``sayings.<language>.yaml`` beside it, by their English; what is not there
    stays English. Raises :class:`MappingError` for a file that is no mapping of texts."""
    if language == "en":
        return {}
    path = folder / f"sayings.{language}.yaml"
    return {**SAYINGS, **(_read(path) if path.exists() else {})}


def _read(path: Path) -> Mapping[str, str]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return msgspec.convert(found, dict[str, str])
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise MappingError(str(fault.problem), where=f"{path}:{line}", fix="correct the YAML") from fault
    except msgspec.ValidationError as fault:
        raise MappingError(
            str(fault), where=str(path), fix="write English: translation, both texts"
        ) from fault
