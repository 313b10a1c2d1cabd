"""The words of all pages, by key and language; every key exists in every language.

Words lie in ``texts/en.yaml`` and ``texts/<room>/en.yaml`` (and ``zh.yaml``): nested keys, joined by a dot,
end in text. ``{name}`` in a text is filled in, and quoted for HTML by the template as any other text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import yaml

from adapter.errors import MappingError
from adapter.model.yaml_nodes import compose, foreign

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
FOLDER = Path(__file__).parent


@cache
def texts(language: Language, folder: Path = FOLDER) -> Mapping[str, str]:
    """Every text of a language by its dotted key; raises :class:`MappingError` for a key given twice."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob(f"{language}.yaml")):
        for key, text in _read(path):
            if key in found:
                raise MappingError(f"the key {key} is there twice", where=str(path), fix="rename one of them")
            found[key] = text
    return found


class Voice:
    """Texts of one language: ``voice("worklist.title")``, ``voice("worklist.count", n=12)``."""

    def __init__(self, language: Language, folder: Path = FOLDER) -> None:
        self.language = language
        self._texts = texts(language, folder)

    def __call__(self, key: str, **values: object) -> str:
        """Raises KeyError for a key that does not exist: a page must not show one."""
        text = self._texts[key]
        return text.format(**values) if values else text

    def has(self, key: str) -> bool:
        return key in self._texts


def language_of(header: str) -> Language:
    """The best of our languages for an Accept-Language header; English if it names none.

    Source: RFC 9110, 12.5.4; a language range matches by its primary subtag.
    """
    best: tuple[float, Language] = (0.0, "en")
    for part in header.split(","):
        name, _, weight = part.strip().partition(";")
        primary = name.split("-")[0].lower()
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        q = float(quality[1]) if quality else 1.0
        for ours in LANGUAGES:
            if primary == ours and q > best[0]:
                best = (q, ours)
    return best[1]


def _read(path: Path) -> Iterator[tuple[str, str]]:
    text = path.read_text(encoding="utf-8")
    try:
        strange = foreign(compose(text))
        if strange is not None:
            raise MappingError(strange.message, where=f"{path}:{strange.line}", fix=strange.fix)
        loaded = yaml.safe_load(text)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise MappingError(str(fault.problem), where=f"{path}:{line}", fix="correct the YAML") from fault
    yield from _flat(loaded, "", path)


def _flat(node: object, prefix: str, path: Path) -> Iterator[tuple[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key), path)
    elif isinstance(node, str):
        yield prefix, node
    else:
        raise MappingError(f"{prefix} is no text", where=str(path), fix="put it in quotes")
