"""Reading ``protocol.yaml`` into :class:`adapter.model.protocol.Protocol`.

Every mistake names ``file:line:column`` and, for an unknown word, the nearest known one. All mistakes
of a file are reported at once. The words are in :mod:`adapter.protocol.words`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from adapter.model.nodes import Period
from adapter.model.protocol import (
    Arm,
    Candidates,
    Named,
    Plan,
    Protocol,
    Study,
    Vocabulary,
)
from adapter.model.rules import AnchorRule
from adapter.model.selection import Selection
from adapter.protocol import words
from adapter.protocol.amounts import Scope, read_period
from adapter.protocol.check import check_structure
from adapter.protocol.criteria import read_criteria, read_text, text_of
from adapter.protocol.grammar import read_condition
from adapter.protocol.plan import read_plan, read_visits
from adapter.protocol.selections import read_anchor, read_concepts, read_selection
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
    visits_named = fields["visits"].items() if "visits" in fields else []
    scope.visit_ids = tuple(
        item.fields(words.PLACES["visits"], ("id",))["id"].text() for item in visits_named
    )
    scope.anchor_names = _names(fields.get("anchors")) + (words.VISIT_ANCHORS if visits_named else ())
    scope.arms = tuple(_arm_codes(fields.get("study")))
    scope.window_names = _names(fields.get("windows"))
    scope.reading_names = _names(fields.get("readings"))
    eligibility_ids = tuple(_criterion_ids(fields["criteria"]))
    watched = fields["monitoring"].fields(words.PLACES["monitoring"]) if "monitoring" in fields else {}
    scope.criterion_ids = eligibility_ids + tuple(
        name for block in words.BLOCKS if block in watched for name in _criterion_ids(watched[block])
    )
    windows = tuple(_read_named(fields.get("windows"), _window, scope))
    scope.windows = {named.name: named.rule for named in windows if isinstance(named.rule, Period)}
    readings = tuple(_read_named(fields.get("readings"), _selection, scope))
    scope.readings = {
        named.name: msgspec.structs.replace(named.rule, name=named.name)
        for named in readings
        if isinstance(named.rule, Selection)
    }
    anchors = tuple(_read_named(fields.get("anchors"), read_anchor, scope))
    criteria = tuple(read_criteria(fields["criteria"], scope, None))
    title, title_zh = read_text(fields["title"])
    return Protocol(
        id=fields["id"].text(),
        version=fields["version"].text(),
        title=title,
        title_zh=title_zh,
        source=text_of(fields, "source"),
        questionnaire=text_of(fields, "questionnaire"),
        study=_read_study(fields["study"], scope) if "study" in fields else Study(),
        anchors=anchors,
        windows=windows,
        readings=readings,
        candidates=_read_candidates(fields["candidates"], scope) if "candidates" in fields else Candidates(),
        criteria=criteria,
        counts=_read_ids(fields, "eligibility", "counts", scope) or tuple(top.id for top in criteria),
        reported=_read_ids(fields, "reporting", "criteria", scope) or tuple(top.id for top in criteria),
        visits=read_visits(fields.get("visits"), scope),
        plan=read_plan(fields["monitoring"], scope) if "monitoring" in fields else Plan(),
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


def _read_study(tree: Tree, scope: Scope) -> Study:
    fields = tree.fields(words.PLACES["study"])
    arms = []
    for item in fields["arms"].items() if "arms" in fields else []:
        arm = item.fields(words.PLACES["arm"], required=("code", "title"))
        aliases = arm["aliases"].one_or_more() if "aliases" in arm else []
        arms.append(
            Arm(
                code=arm["code"].text(),
                title=arm["title"].text(),
                aliases=tuple(alias.text() for alias in aliases),
                where=item.where,
            )
        )
    for place, arm_node in enumerate(arms):
        for name in (arm_node.code, arm_node.title, *arm_node.aliases):
            if Study(arms=tuple(arms[:place])).arm_called(name):
                raise Mistake(f"two arms are called {name!r}", arm_node.where, "an alias names one arm")
    return Study(
        identifier=text_of(fields, "identifier"),
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


def _arm_codes(tree: Tree | None) -> Iterator[str]:
    fields = tree.fields() if tree is not None else {}
    for item in fields["arms"].items() if "arms" in fields else []:
        arm = item.fields()
        if "code" in arm:
            yield arm["code"].text()


def _criterion_ids(tree: Tree) -> Iterator[str]:
    for item in tree.items():
        fields = item.fields()
        if "id" in fields:
            yield fields["id"].text()
        if "criteria" in fields:
            yield from _criterion_ids(fields["criteria"])
