"""Reading ``mappings/``: rows and YAML nodes that remember their file and line.

Nothing here knows what the columns mean. Every problem is a :class:`MappingError` that names
``file:line`` and says what to change.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, NoReturn

import yaml

from adapter.errors import MappingError
from adapter.model.yaml_nodes import compose, foreign

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_RATIO = re.compile(r"(-?\d+)/(\d+)")

Node = str | list["Node"] | dict[str, "Node"] | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a CSV file: the cells by column name, trimmed, and where they stand."""

    cells: Mapping[str, str]
    where: str

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def many(self, column: str) -> tuple[str, ...]:
        """A cell of ``;``-separated items."""
        return tuple(item for part in self.cells[column].split(";") if (item := part.strip()))

    def one_of(self, column: str, allowed: tuple[str, ...]) -> str:
        value = self.cells[column]
        if value not in allowed:
            self.wrong(
                f"{column} is {value!r}", f"write one of: {', '.join(item or '(empty)' for item in allowed)}"
            )
        return value

    def number(self, column: str, *, default: Fraction | None = None) -> Fraction:
        """An exact number: ``88.4``, ``-1``, ``125/2252``. Binary floats and exponents are refused."""
        text = self.cells[column]
        if not text and default is not None:
            return default
        value = exact_number(text)
        if value is None:
            self.wrong(
                f"{column} is {text!r}, not a number", "write digits like 88.4 or a ratio like 125/2252"
            )
        return value

    def day(self, column: str) -> date | None:
        text = self.cells[column]
        if not text:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            self.wrong(f"{column} is {text!r}, not a date", "write YYYY-MM-DD")

    def wrong(self, message: str, fix: str) -> NoReturn:
        raise MappingError(message, where=self.where, fix=fix)


def exact_number(text: str) -> Fraction | None:
    """The exact rational a text spells, or None.

    >>> exact_number("125/2252"), exact_number("88.4"), exact_number("1e3"), exact_number("1/0")
    (Fraction(125, 2252), Fraction(442, 5), None, None)
    """
    if _NUMBER.fullmatch(text):
        return Fraction(text)
    ratio = _RATIO.fullmatch(text)
    if ratio and int(ratio[2]) != 0:
        return Fraction(int(ratio[1]), int(ratio[2]))
    return None


def read_rows(path: Path, columns: tuple[str, ...], root: Path) -> Iterator[Row]:
    """The rows of a CSV file whose header must be exactly ``columns``.

    A byte-order mark and blank lines (spreadsheets add both) are tolerated; anything else is a MappingError.
    """
    name = path.relative_to(root.parent).as_posix()
    if not path.is_file():
        raise MappingError(
            "the file is missing", where=name, fix=f"create it with the header {','.join(columns)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise MappingError(
            f"not UTF-8: {problem.reason}", where=name, fix="save it as CSV UTF-8"
        ) from problem
    lines = csv.reader(text.splitlines(keepends=True), strict=True)
    header = next(lines, [])
    if tuple(cell.strip() for cell in header) != columns:
        raise MappingError(
            f"the header is {','.join(header)}", where=f"{name}:1", fix=f"write {','.join(columns)}"
        )
    start = lines.line_num + 1
    for cells in lines:
        where = f"{name}:{start}"
        start = lines.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            raise MappingError(
                f"{len(cells)} cells for {len(columns)} columns",
                where=where,
                fix='put a cell that holds a comma in "double quotes"; keep empty cells',
            )
        yield Row(dict(zip(columns, (cell.strip() for cell in cells), strict=True)), where)


class YamlFile(NamedTuple):
    """A YAML document of strings, lists and mappings, and the line of every key path."""

    content: Node
    lines: Mapping[tuple[str, ...], int]
    name: str

    def where(self, *path: str) -> str:
        """``file:line`` of a key, or of the nearest one above it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return f"{self.name}:1"


def read_yaml(path: Path, root: Path) -> YamlFile:
    """Read YAML without running anything: every scalar stays text, so 0.02 never becomes a float."""
    name = path.relative_to(root.parent).as_posix()
    try:
        node = compose(path.read_text(encoding="utf-8"))
    except FileNotFoundError as problem:
        raise MappingError("the file is missing", where=name, fix="restore it") from problem
    except yaml.MarkedYAMLError as problem:
        line = problem.problem_mark.line + 1 if problem.problem_mark else 1
        raise MappingError(
            f"not YAML: {problem.problem}", where=f"{name}:{line}", fix="check indentation"
        ) from problem
    if found := foreign(node):
        raise MappingError(found.message, where=f"{name}:{found.line}", fix=found.fix)
    lines: dict[tuple[str, ...], int] = {}
    content = _plain(node, (), lines, name) if node else None
    return YamlFile(content, lines, name)


def _plain(node: yaml.Node, path: tuple[str, ...], lines: dict[tuple[str, ...], int], name: str) -> Node:
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == "tag:yaml.org,2002:null" else str(node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, path, lines, name) for item in node.value]
    result: dict[str, Node] = {}
    for key, value in node.value:
        here = (*path, str(key.value))
        line = key.start_mark.line + 1
        if here in lines:
            raise MappingError(
                f"{key.value!r} stands twice",
                where=f"{name}:{line}",
                fix=f"keep one (the other is line {lines[here]})",
            )
        lines[here] = line
        result[here[-1]] = _plain(value, here, lines, name)
    return result
