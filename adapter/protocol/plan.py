"""Reading what is watched after entry: ``visits:`` and ``monitoring:``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from adapter.model.decision import Kind
from adapter.model.nodes import Offset
from adapter.model.protocol import Criterion, DueRule, OtherResponse, Plan, ResponseLine, Visit
from adapter.protocol import words
from adapter.protocol.amounts import Scope, read_moment, read_offset
from adapter.protocol.criteria import read_criteria, read_text, text_of
from adapter.protocol.grammar import read_condition
from adapter.protocol.tree import Tree

Part = TypeVar("Part")

_KINDS: dict[str, Kind] = {
    "endpoints": "endpoint",
    "exits": "exit",
    "doses": "dose",
    "safety": "safety",
    "deviations": "deviation",
}


def read_visits(tree: Tree | None, scope: Scope) -> tuple[Visit, ...]:
    return tuple(_each(tree, scope, _visit))


def _each(tree: Tree | None, scope: Scope, read: Callable[[Tree, Scope], Part]) -> Iterator[Part]:
    """Every item of a list; a mistake in one does not hide those in the others."""
    for item in tree.items() if tree is not None else ():
        with scope.mistakes.collected():
            yield read(item, scope)


def _visit(tree: Tree, scope: Scope) -> Visit:
    fields = tree.fields(words.PLACES["visits"], required=("id", "name", "day", "from", "to"))
    name, name_zh = read_text(fields["name"])
    day, first, last = _days(tree, fields)
    return Visit(
        id=fields["id"].text(),
        name=name,
        name_zh=name_zh,
        day=day,
        first=first,
        last=last,
        source=text_of(fields, "source"),
        reading=fields["reading"].one_of(scope.reading_names, "reading") if "reading" in fields else "",
        where=tree.where,
    )


def _days(tree: Tree, fields: dict[str, Tree]) -> tuple[Offset, Offset, Offset]:
    day, first, last = (read_offset(fields[name]) for name in ("day", "from", "to"))
    if not first.order <= day.order <= last.order:
        raise tree.mistake(f"day {day} is not within {first} to {last}", "from <= day <= to")
    return day, first, last


def read_plan(tree: Tree, scope: Scope) -> Plan:
    fields = tree.fields(words.PLACES["monitoring"], required=("day_zero",))
    return Plan(
        day_zero=fields["day_zero"].one_of(scope.anchor_names, "anchor"),
        until=read_moment(fields["until"], scope) if "until" in fields else None,
        endpoints=_block("endpoints", fields, scope),
        exits=_block("exits", fields, scope),
        doses=_block("doses", fields, scope),
        safety=_block("safety", fields, scope),
        deviations=_block("deviations", fields, scope),
        responses=tuple(_each(fields.get("response"), scope, _response)),
        due=tuple(_each(fields.get("due"), scope, _due)),
        where=tree.where,
    )


def _block(name: str, fields: dict[str, Tree], scope: Scope) -> tuple[Criterion, ...]:
    if name not in fields:
        return ()
    return tuple(read_criteria(fields[name], scope, _KINDS[name], "monitored"))


def _response(tree: Tree, scope: Scope) -> ResponseLine:
    fields = tree.fields(words.PLACES["response"])
    states = [word for word in words.RESPONSES if word in fields]
    if len(states) != 1:
        raise tree.mistake(f"a line has exactly one of {', '.join(words.RESPONSES)}")
    [state] = states
    return ResponseLine(
        state=state,
        when=read_condition(fields[state], scope),
        because=text_of(fields, "because"),
        source=text_of(fields, "source"),
        alternatives=tuple(_each(fields.get("alternatives"), scope, _other_response)),
        where=tree.where,
    )


def _other_response(tree: Tree, scope: Scope) -> OtherResponse:
    place = words.PLACES["response alternative"]
    fields = tree.fields(place, required=place)
    return OtherResponse(
        name=fields["name"].text(),
        reading=fields["reading"].text(),
        when=read_condition(fields["met_when"], scope),
        where=tree.where,
    )


def _due(tree: Tree, scope: Scope) -> DueRule:
    fields = tree.fields(words.PLACES["due"], required=("id", "what", "day", "from", "to"))
    what, what_zh = read_text(fields["what"])
    day, first, last = _days(tree, fields)
    return DueRule(
        id=fields["id"].text(),
        what=what,
        what_zh=what_zh,
        day=day,
        first=first,
        last=last,
        source=text_of(fields, "source"),
        after=read_moment(fields["after"], scope) if "after" in fields else None,
        when=read_condition(fields["when"], scope) if "when" in fields else None,
        done_when=read_condition(fields["done_when"], scope) if "done_when" in fields else None,
        where=tree.where,
    )
