"""What a YAML file of ours may not hold: tags that name code, and aliases that multiply.

Nothing of ours ever constructs an object from a tag; it is refused rather than overlooked, so that nobody
believes it did something. Aliases are refused because a few lines of them unfold to gigabytes ("billion
laughs") and because a reviewer should see what a rule says where it stands. Source: YAML 1.2.2, sections
3.2.2.2 and 10.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml

_PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "seq", "map", "timestamp", "merge", "value")
)

# libyaml reads the same language nine times as fast; PyYAML's wheels bring it, other builds may lack it.
LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 100
_OPENS = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_CLOSES = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


def compose(text: str) -> yaml.Node | None:
    """The one document of a text as nodes; raises ``yaml.MarkedYAMLError``, also for one nested so deep that
    whoever walks it would run out of stack."""
    check_depth(text)
    node: yaml.Node | None = yaml.compose(text, Loader=LOADER)
    return node


def check_depth(text: str) -> None:
    """Raise ``yaml.MarkedYAMLError`` at the first place nested more than :data:`DEEPEST` deep."""
    depth = 0
    for event in yaml.parse(text, Loader=LOADER):
        depth += isinstance(event, _OPENS) - isinstance(event, _CLOSES)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(
                problem=f"it is nested more than {DEEPEST} deep",
                problem_mark=event.start_mark,  # type: ignore[arg-type]  # libyaml has marks of its own
            )


class Foreign(NamedTuple):
    """The first thing that does not belong: its line (from 1), what it is and what to do."""

    line: int
    message: str
    fix: str


def foreign(root: yaml.Node | None) -> Foreign | None:
    """Look through composed nodes, each once; None if all of it is plain data."""
    waiting = [] if root is None else [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        line = node.start_mark.line + 1
        if id(node) in seen:
            return Foreign(line, "a YAML alias is used for what stands here", "write it out where it is used")
        seen.add(id(node))
        if node.tag not in _PLAIN:
            return Foreign(line, f"the YAML tag {node.tag[:60]!r} is not plain data", "remove the tag")
        if isinstance(node, yaml.MappingNode):
            waiting.extend(part for pair in reversed(node.value) for part in reversed(pair))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(reversed(node.value))
    return None
