"""Reading ``protocol.yaml`` into :class:`adapter.model.protocol.Protocol`.

Every mistake names ``file:line:column`` and, for an unknown word, the nearest known one. All mistakes
of a file are reported at once. The words are in :mod:`adapter.protocol.words`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from adapter.model.decision import Verdict
from adapter.model.nodes import Period
from adapter.model.protocol import (
    Arm,
    Candidates,
    Criterion,
    FlagRule,
    Line,
    Named,
    OtherReading,
    Protocol,
    Study,
    Vocabulary,
)
from adapter.model.rules import AnchorRule, Not, Selection
from adapter.protocol import words
from adapter.protocol.amounts import Scope
from adapter.protocol.check import check_structure
from adapter.protocol.grammar import read_condition
from adapter.protocol.selections import read_anchor, read_concepts, read_period, read_selection
from adapter.protocol.tree import Mistake, Tree, read_tree

FILE_NAME = "protocol.yaml"


def load(folder: Path, vocabulary: Vocabulary) -> Protocol:
    """The protocol in ``folder/protocol.yaml``; raises :class:`adapter.errors.ProtocolError`."""
    scope = Scope(vocabulary)
    protocol = None
    with scope.mistakes.collected():
        protocol = _read_protocol(read_tree(folder / FILE_NAME), scope)
    scope.mistakes.raise_if_any()
    assert protocol is not None  # noqa: S101 - either a mistake was raised or it was read
    for remark in check_structure(protocol):
        scope.mistakes.found.append(Mistake(remark.message, remark.where, remark.fix))
    scope.mistakes.raise_if_any()
    return protocol


def _read_protocol(tree: Tree, scope: Scope) -> Protocol:
    fields = tree.fields(words.PLACES["protocol"], required=("id", "version", "title", "criteria"))
    scope.anchor_names = _names(fields.get("anchors"))
    scope.window_names = _names(fields.get("windows"))
    scope.reading_names = _names(fields.get("readings"))
    scope.criterion_ids = tuple(_criterion_ids(fields["criteria"]))
    windows = tuple(_read_named(fields.get("windows"), _window, scope))
    scope.windows = {named.name: named.rule for named in windows if isinstance(named.rule, Period)}
    readings = tuple(_read_named(fields.get("readings"), _selection, scope))
    scope.readings = {
        named.name: msgspec.structs.replace(named.rule, name=named.name)
        for named in readings
        if isinstance(named.rule, Selection)
    }
    anchors = tuple(_read_named(fields.get("anchors"), read_anchor, scope))
    criteria = tuple(_read_criteria(fields["criteria"], scope, ""))
    title, title_zh = _read_text(fields["title"])
    return Protocol(
        id=fields["id"].text(),
        version=fields["version"].text(),
        title=title,
        title_zh=title_zh,
        source=_text(fields, "source"),
        questionnaire=_text(fields, "questionnaire"),
        study=_read_study(fields["study"], scope) if "study" in fields else Study(),
        anchors=anchors,
        windows=windows,
        readings=readings,
        candidates=_read_candidates(fields["candidates"], scope) if "candidates" in fields else Candidates(),
        criteria=criteria,
        counts=_read_ids(fields, "eligibility", "counts", scope) or tuple(top.id for top in criteria),
        reported=_read_ids(fields, "reporting", "criteria", scope) or tuple(top.id for top in criteria),
        where=tree.where,
    )


def _names(tree: Tree | None) -> tuple[str, ...]:
    return tuple(tree.fields()) if tree is not None else ()


def _window(tree: Tree, scope: Scope) -> Period:
    return read_period(tree.fields(words.PLACES["window"]), scope)


def _selection(tree: Tree, scope: Scope) -> Selection:
    return read_selection(tree.fields(words.PLACES["reading"], required=("finding",)), tree.where, scope)


def _read_named(
    tree: Tree | None, read: Callable[[Tree, Scope], AnchorRule | Period | Selection], scope: Scope
) -> Iterator[Named]:
    for key, value in tree.pairs() if tree is not None else ():
        with scope.mistakes.collected():
            yield Named(name=key.text(), rule=read(value, scope), where=key.where)


def _read_text(tree: Tree) -> tuple[str, str]:
    """A text in English and Chinese, or a plain text in English."""
    if not tree.is_mapping:
        return tree.text(), ""
    fields = tree.fields(words.PLACES["text"])
    return _text(fields, "en"), _text(fields, "zh")


def _text(fields: dict[str, Tree], name: str) -> str:
    return fields[name].text() if name in fields else ""


def _flag(fields: dict[str, Tree], name: str) -> bool:
    return fields[name].yes_or_no() if name in fields else False


def _read_study(tree: Tree, scope: Scope) -> Study:
    fields = tree.fields(words.PLACES["study"])
    arms = []
    for item in fields["arms"].items() if "arms" in fields else []:
        arm = item.fields(words.PLACES["arm"], required=("code", "title"))
        arms.append(Arm(code=arm["code"].text(), title=arm["title"].text(), where=item.where))
    return Study(
        identifier=_text(fields, "identifier"),
        enrolment=fields["enrolment"].whole() if "enrolment" in fields else None,
        arms=tuple(arms),
        where=tree.where,
    )


def _read_candidates(tree: Tree, scope: Scope) -> Candidates:
    fields = tree.fields(words.PLACES["candidates"])
    drugs = fields["drugs"].one_or_more() if "drugs" in fields else []
    return Candidates(
        events=read_concepts(fields["events"], "event", scope) if "events" in fields else (),
        findings=read_concepts(fields["findings"], "finding", scope) if "findings" in fields else (),
        drugs=tuple(item.one_of(tuple(scope.vocabulary.drugs), "drug") for item in drugs),
        unless=read_condition(fields["unless"], scope) if "unless" in fields else None,
        where=tree.where,
    )


def _read_ids(fields: dict[str, Tree], block: str, name: str, scope: Scope) -> tuple[str, ...]:
    if block not in fields:
        return ()
    parts = fields[block].fields(words.PLACES[block], required=(name,))
    return tuple(item.one_of(scope.criterion_ids, "criterion") for item in parts[name].items())


def _criterion_ids(tree: Tree) -> Iterator[str]:
    for item in tree.items():
        fields = item.fields()
        if "id" in fields:
            yield fields["id"].text()
        if "criteria" in fields:
            yield from _criterion_ids(fields["criteria"])


def _read_criteria(tree: Tree, scope: Scope, kind: str) -> Iterator[Criterion]:
    for item in tree.items():
        with scope.mistakes.collected():
            yield _read_criterion(item, scope, kind)


def _read_criterion(tree: Tree, scope: Scope, parent_kind: str) -> Criterion:
    fields = tree.fields(words.PLACES["criterion"], required=("id",))
    if "kind" not in fields and not parent_kind:
        raise tree.mistake("missing 'kind'", "add kind: inclusion or kind: exclusion")
    kind = (
        fields["kind"].one_of(words.KINDS, "kind")
        if "kind" in fields
        else next(word for word in words.KINDS if word == parent_kind)
    )
    children = tuple(_read_criteria(fields["criteria"], scope, kind)) if "criteria" in fields else ()
    lines = _read_body(tree, fields, scope)
    text, text_zh = _read_text(fields["text"]) if "text" in fields else ("", "")
    settles, settles_zh = _read_text(fields["settles"]) if "settles" in fields else ("", "")
    return Criterion(
        id=fields["id"].text(),
        kind=kind,
        text=text,
        text_zh=text_zh,
        source=_text(fields, "source"),
        lines=lines,
        simple="met_when" in fields,
        flags=tuple(_read_flags(fields.get("flag"), scope)),
        alternatives=tuple(_read_alternatives(fields.get("alternatives"), scope)),
        criteria=children,
        pending=_flag(fields, "pending"),
        settles=settles,
        settles_zh=settles_zh,
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
        review=_flag(fields, "review"),
        because=_text(fields, "because"),
        where=tree.where,
    )


def _read_flags(tree: Tree | None, scope: Scope) -> Iterator[FlagRule]:
    for item in tree.one_or_more() if tree is not None else ():
        with scope.mistakes.collected():
            fields = item.fields(words.PLACES["flag"], required=("name", "when"))
            yield FlagRule(
                name=fields["name"].text(),
                when=read_condition(fields["when"], scope),
                review=_flag(fields, "review"),
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
                review=_flag(fields, "review"),
                where=item.where,
            )
