"""YAML that remembers its lines, so that a wrong word is answered with file and line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from adapter.errors import MappingError
from adapter.model.yaml_nodes import compose, foreign

_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")


class Located(msgspec.Struct, frozen=True):
    """A YAML document as plain values, and the line of each path in it."""

    path: Path
    value: Any
    lines: dict[tuple[str | int, ...], int]

    def where(self, *path: str | int) -> str:
        """``file:line`` of the deepest known part of a path."""
        for depth in range(len(path), -1, -1):
            if path[:depth] in self.lines:
                return f"{self.path}:{self.lines[path[:depth]]}"
        return str(self.path)

    def error(self, message: str, *path: str | int, fix: str = "") -> MappingError:
        return MappingError(message, where=self.where(*path), fix=fix)

    def error_at(self, fault: msgspec.ValidationError, *under: str | int) -> MappingError:
        """The same complaint with the line that ``$.variables[3].core`` (below ``under``) stands for."""
        message, _, place = str(fault).partition(" - at `")
        steps = [*under]
        for match in _STEP.finditer(place.rstrip("`")):
            if match["name"]:
                steps.append(match["name"])
            elif match["index"]:
                steps.append(int(match["index"]))
            else:
                break
        return self.error(message, *steps)


def read_located(path: Path) -> Located:
    """Read one YAML file; raises :class:`MappingError` when it is missing, malformed or repeats a key."""
    try:
        node = compose(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise MappingError(f"cannot be read ({fault.strerror})", where=str(path)) from fault
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise MappingError(f"not YAML: {fault.problem}", where=f"{path}:{line}") from fault
    if node is None:
        raise MappingError("the file is empty", where=str(path))
    if found := foreign(node):
        raise MappingError(found.message, where=f"{path}:{found.line}", fix=found.fix)
    lines: dict[tuple[str | int, ...], int] = {}
    return Located(path, _plain(path, node, (), lines), lines)


def _plain(
    path: Path, node: yaml.Node, at: tuple[str | int, ...], lines: dict[tuple[str | int, ...], int]
) -> Any:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in mapping:
                raise MappingError(
                    f"{key!r} stands twice", where=f"{path}:{key_node.start_mark.line + 1}", fix="keep one"
                )
            mapping[key] = _plain(path, value_node, (*at, key), lines)
            lines[(*at, key)] = key_node.start_mark.line + 1
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_plain(path, item, (*at, index), lines) for index, item in enumerate(node.value)]
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()
