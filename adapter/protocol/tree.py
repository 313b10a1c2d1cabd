"""YAML as a tree that remembers where everything was written.

Only composed nodes are used: no tag is constructed, so nothing in the file can run code, numbers keep
their own digits and ``no`` stays a word. Source: YAML 1.1 as PyYAML composes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import yaml

from adapter.errors import ProtocolError
from adapter.model.yaml_nodes import LOADER, compose, foreign

Word = TypeVar("Word", bound=str)


class Mistake(Exception):
    """One mistake in a protocol file; collected, so that a file reports all of them at once."""

    def __init__(self, message: str, where: str, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" (fix: {self.fix})" if self.fix else "")


class Mistakes:
    """Collects mistakes while reading goes on with the next part."""

    def __init__(self) -> None:
        self.found: list[Mistake] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        try:
            yield
        except Mistake as mistake:
            self.found.append(mistake)

    def raise_if_any(self) -> None:
        if not self.found:
            return
        first, *others = self.found
        message = first.message + "".join(f"\n{other}" for other in others)
        raise ProtocolError(message, where=first.where, fix=first.fix)


class Tree:
    """One YAML node: a mapping, a list or a scalar, with its ``file:line:column``."""

    def __init__(self, node: yaml.Node, file: str) -> None:
        self._node = node
        self._file = file

    @property
    def where(self) -> str:
        mark = self._node.start_mark
        return f"{self._file}:{mark.line + 1}:{mark.column + 1}"

    @property
    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def mistake(self, message: str, fix: str = "") -> Mistake:
        return Mistake(message, self.where, fix)

    def fields(self, allowed: Iterable[str] = (), required: Iterable[str] = ()) -> dict[str, Tree]:
        """The entries of a mapping in file order; with ``allowed``, any other word is a mistake."""
        found = {key.text(): value for key, value in self.pairs()}
        words = tuple(allowed)
        if words:
            for key, _ in self.pairs():
                key.one_of(words, "word")
        for name in required:
            if name not in found:
                raise self.mistake(f"missing {name!r}", f"add {name}: here")
        return found

    def pairs(self) -> list[tuple[Tree, Tree]]:
        if not isinstance(self._node, yaml.MappingNode):
            raise self.mistake("expected a mapping (name: value)")
        pairs = [(Tree(key, self._file), Tree(value, self._file)) for key, value in self._node.value]
        seen: dict[str, Tree] = {}
        for key, _ in pairs:
            name = key.text()
            if name in seen:
                raise key.mistake(f"{name!r} is given twice", f"the first is at {seen[name].where}")
            seen[name] = key
        return pairs

    def items(self) -> list[Tree]:
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.mistake("expected a list")
        return [Tree(item, self._file) for item in self._node.value]

    def one_or_more(self) -> list[Tree]:
        """A list, or a single value read as a list of one."""
        return self.items() if self.is_list else [self]

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.mistake("expected a text or a number")
        return str(self._node.value).strip()

    def one_of(self, words: Iterable[Word], what: str) -> Word:
        """The text, which must be one of the words; the mistake names the nearest."""
        known = tuple(words)
        text = self.text()
        for word in known:
            if word == text:
                return word
        raise self.unknown(text, known, what)

    def unknown(self, word: str, known: Iterable[str], what: str) -> Mistake:
        """The mistake for a word nobody knows, with the nearest known one."""
        names = sorted(known)
        near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
        fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names[:40]) or 'none'}"
        return self.mistake(f"unknown {what} {word!r}", fix)

    def yes_or_no(self) -> bool:
        return self.one_of(("true", "false"), "truth value") == "true"

    def whole(self) -> int:
        text = self.text()
        if not text.isascii() or not text.isdigit():
            raise self.mistake(f"expected a whole number, found {text!r}")
        return int(text)


def read_tree(path: Path) -> Tree:
    """Compose one YAML document; raises :class:`ProtocolError` if it is none."""
    try:
        text = path.read_text(encoding="utf-8")
        for event in yaml.parse(text, Loader=LOADER):
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                place = f"{path.name}:{mark.line + 1}:{mark.column + 1}" if mark else path.name
                raise ProtocolError(
                    "YAML aliases are not part of the vocabulary",
                    where=place,
                    fix="name the part under windows: or readings:",
                )
        node = compose(text)
    except OSError as fault:
        raise ProtocolError(f"cannot be read: {fault.strerror}", where=path.name) from fault
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        mark = getattr(fault, "problem_mark", None)
        place = f"{path.name}:{mark.line + 1}:{mark.column + 1}" if mark else path.name
        problem = getattr(fault, "problem", None) or "is not UTF-8 text"
        raise ProtocolError(f"is not YAML: {problem}", where=place) from fault
    if node is None:
        raise ProtocolError("is empty", where=path.name)
    if found := foreign(node):
        raise ProtocolError(found.message, where=f"{path.name}:{found.line}", fix=found.fix)
    return Tree(node, path.name)
