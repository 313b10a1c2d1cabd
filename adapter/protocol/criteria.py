"""Reading criteria: their texts, their decision lines, flags and other readings."""

from __future__ import annotations

from collections.abc import Iterator

from adapter.model.decision import Kind, Verdict
from adapter.model.protocol import Criterion, FlagRule, Line, OtherReading
from adapter.model.rules import Not
from adapter.protocol import words
from adapter.protocol.amounts import Scope
from adapter.protocol.grammar import read_condition
from adapter.protocol.tree import Tree


def read_text(tree: Tree) -> tuple[str, str]:
    """A text in English and Chinese, or a plain text in English."""
    if not tree.is_mapping:
        return tree.text(), ""
    fields = tree.fields(words.PLACES["text"])
    return text_of(fields, "en"), text_of(fields, "zh")


def text_of(fields: dict[str, Tree], name: str) -> str:
    return fields[name].text() if name in fields else ""


def flag_of(fields: dict[str, Tree], name: str) -> bool:
    return fields[name].yes_or_no() if name in fields else False


def read_criteria(
    tree: Tree, scope: Scope, kind: Kind | None, place: str = "criterion"
) -> Iterator[Criterion]:
    """The criteria of a list; without a ``kind`` each says its own."""
    for item in tree.items():
        with scope.mistakes.collected():
            yield _read_criterion(item, scope, kind, place)


def _read_criterion(tree: Tree, scope: Scope, parent_kind: Kind | None, place: str) -> Criterion:
    fields = tree.fields(words.PLACES[place], required=("id",))
    kind = fields["kind"].one_of(words.KINDS, "kind") if "kind" in fields else parent_kind
    if kind is None:
        raise tree.mistake("missing 'kind'", "add kind: inclusion or kind: exclusion")
    children = tuple(read_criteria(fields["criteria"], scope, kind, place)) if "criteria" in fields else ()
    lines = _read_body(tree, fields, scope)
    text, text_zh = read_text(fields["text"]) if "text" in fields else ("", "")
    settles, settles_zh = read_text(fields["settles"]) if "settles" in fields else ("", "")
    return Criterion(
        id=fields["id"].text(),
        kind=kind,
        text=text,
        text_zh=text_zh,
        source=text_of(fields, "source"),
        lines=lines,
        simple="met_when" in fields,
        flags=tuple(_read_flags(fields.get("flag"), scope)),
        alternatives=tuple(_read_alternatives(fields.get("alternatives"), scope)),
        criteria=children,
        pending=flag_of(fields, "pending"),
        settles=settles,
        settles_zh=settles_zh,
        visit=fields["visit"].one_of(scope.visit_ids, "visit") if "visit" in fields else "",
        severity=fields["severity"].one_of(words.SEVERITIES, "severity") if "severity" in fields else "",
        where=tree.where,
    )


def _read_body(tree: Tree, fields: dict[str, Tree], scope: Scope) -> tuple[Line, ...]:
    """``met_when: c`` says met if c, not met if not c; ``decide:`` is a table read from the top."""
    if ("met_when" in fields) == ("decide" in fields):
        raise tree.mistake("exactly one of met_when: and decide: is needed")
    if "met_when" in fields:
        condition = read_condition(fields["met_when"], scope)
        where = fields["met_when"].where
        return (
            Line(verdict=Verdict.MET, when=condition, where=where),
            Line(verdict=Verdict.NOT_MET, when=Not(part=condition, where=where), where=where),
        )
    lines = []
    for item in fields["decide"].items():
        with scope.mistakes.collected():
            lines.append(_read_line(item, scope))
    return tuple(lines)


def _read_line(tree: Tree, scope: Scope) -> Line:
    fields = tree.fields(words.PLACES["line"])
    verdicts = [word for word in words.VERDICTS if word in fields]
    if len(verdicts) != 1:
        raise tree.mistake("a line has exactly one of met:, not_met:, unknown:")
    [verdict] = verdicts
    return Line(
        verdict=Verdict(verdict),
        when=read_condition(fields[verdict], scope),
        flags=tuple(item.text() for item in fields["flags"].one_or_more()) if "flags" in fields else (),
        review=flag_of(fields, "review"),
        because=text_of(fields, "because"),
        where=tree.where,
    )


def _read_flags(tree: Tree | None, scope: Scope) -> Iterator[FlagRule]:
    for item in tree.one_or_more() if tree is not None else ():
        with scope.mistakes.collected():
            fields = item.fields(words.PLACES["flag"], required=("name", "when"))
            yield FlagRule(
                name=fields["name"].text(),
                when=read_condition(fields["when"], scope),
                review=flag_of(fields, "review"),
                where=item.where,
            )


def _read_alternatives(tree: Tree | None, scope: Scope) -> Iterator[OtherReading]:
    for item in tree.items() if tree is not None else ():
        with scope.mistakes.collected():
            fields = item.fields(words.PLACES["alternative"], required=("name", "reading"))
            yield OtherReading(
                name=fields["name"].text(),
                reading=fields["reading"].text(),
                lines=_read_body(item, fields, scope),
                review=flag_of(fields, "review"),
                where=item.where,
            )
