"""Reading ``ladders.yaml`` into :class:`adapter.model.ladder.Ladder`.

As for ``protocol.yaml``: every mistake names ``file:line:column`` and, for an unknown word, the nearest known
one; all mistakes of a file are reported at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from adapter.model.course import LadderIs
from adapter.model.ladder import (
    Alert,
    Baseline,
    Companion,
    Dosing,
    Ladder,
    Measure,
    OtherLadder,
    State,
)
from adapter.model.nodes import Period, descend
from adapter.model.protocol import Protocol, Vocabulary
from adapter.model.selection import Selection
from adapter.protocol import words
from adapter.protocol.amounts import Scope, read_days, read_moment, read_plain_amount
from adapter.protocol.grammar import read_condition
from adapter.protocol.ladder_states import read_bounds, read_state, read_text, read_texts, read_ways
from adapter.protocol.ladder_words import MEASURES, PLACES, WORST
from adapter.protocol.selections import read_selection
from adapter.protocol.tree import Mistake, Mistakes, Tree, read_tree

FILE_NAME = "ladders.yaml"
NOTHING = Measure(name="", kind="level", selection=Selection(concepts=()))
"""What a ladder watches that goes by the calendar alone."""
Fields = dict[str, Tree]


def load_ladders(folder: Path, vocabulary: Vocabulary, protocol: Protocol) -> tuple[Ladder, ...]:
    """The ladders in ``folder/ladders.yaml``, none if there is no such file.

    ``protocol`` gives the anchors that the ladders may name. Raises :class:`adapter.errors.ProtocolError`.
    """
    ladders = _read_file(folder / FILE_NAME, vocabulary, protocol) if (folder / FILE_NAME).exists() else ()
    mistakes = Mistakes()
    mistakes.found += _unknown_ladders(protocol, ladders)
    mistakes.raise_if_any()
    return ladders


def _unknown_ladders(protocol: Protocol, ladders: tuple[Ladder, ...]) -> Iterator[Mistake]:
    """Rules of ``protocol.yaml`` that ask about a ladder or a state that is not there."""
    states = {ladder.id: tuple(state.id for state in ladder.states) for ladder in ladders}
    for node in descend(protocol):
        if not isinstance(node, LadderIs):
            continue
        if node.ladder not in states:
            yield _nearest("ladder", node.ladder, states, node.where)
        for name in node.states:
            if name not in states.get(node.ladder, node.states):
                yield _nearest(f"state of {node.ladder}", name, states[node.ladder], node.where)


def _nearest(what: str, word: str, known: Iterable[str], where: str) -> Mistake:
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    fix = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return Mistake(f"unknown {what} {word!r}", where, fix)


def _read_file(path: Path, vocabulary: Vocabulary, protocol: Protocol) -> tuple[Ladder, ...]:
    windows = {named.name: named.rule for named in protocol.windows if isinstance(named.rule, Period)}
    readings = {named.name: named.rule for named in protocol.readings if isinstance(named.rule, Selection)}
    scope = Scope(
        vocabulary,
        Mistakes(),
        anchor_names=tuple(named.name for named in protocol.anchors),
        window_names=tuple(windows),
        windows=windows,
        reading_names=tuple(readings),
        readings=readings,
        criterion_ids=tuple(criterion.id for criterion in protocol.every()),
        visit_ids=tuple(visit.id for visit in protocol.visits),
        arms=tuple(arm.code for arm in protocol.study.arms),
    )
    ladders: list[Ladder] = []
    with scope.mistakes.collected():
        fields = read_tree(path).fields(PLACES["ladders"], required=("ladders",))
        measures: dict[str, Measure] = {}
        for key, value in fields["measures"].pairs() if "measures" in fields else ():
            with scope.mistakes.collected():
                measures[key.text()] = _read_measure(key.text(), value, scope)
        scope.mistakes.raise_if_any()  # a ladder cannot be read without its measure
        seen: set[str] = set()
        for item in fields["ladders"].items():
            with scope.mistakes.collected():
                ladder = _read_ladder(item, measures, scope)
                if ladder.id in seen:
                    raise item.mistake(f"ladder {ladder.id!r} is given twice")
                seen.add(ladder.id)
                ladders.append(ladder)
    scope.mistakes.raise_if_any()
    return tuple(ladders)


# --- what is measured -------------------------------------------------------------------------------------


def _read_measure(name: str, tree: Tree, scope: Scope) -> Measure:
    fields = tree.fields(PLACES["measure"])
    kinds = [word for word in MEASURES if word in fields]
    if len(kinds) != 1:
        raise tree.mistake(f"a measure is exactly one of {', '.join(MEASURES)}")
    [kind] = kinds
    chosen = fields[kind]
    selection = read_selection(chosen.fields(PLACES["readings"], required=("finding",)), chosen.where, scope)
    change = kind in ("fall", "rise")
    for word, wanted in (("against", change), ("series", False), ("of", kind == "multiple")):
        if wanted and word not in fields:
            raise tree.mistake(f"missing {word!r}", f"add {word}: beside {kind}:")
        if word in fields and not wanted and not (word == "series" and change):
            raise fields[word].mistake(f"{word}: has no meaning beside {kind}:")
    return Measure(
        name=name,
        kind=kind,
        selection=selection,
        baselines=tuple(_read_baselines(fields["against"], scope)) if change else (),
        series=read_texts(fields, "series"),
        worst=fields["worst"].one_of(WORST, "worst value") if "worst" in fields else "highest",
        limit=fields["of"].one_of(words.LIMITS, "limit") if "of" in fields else "upper_limit",
        where=tree.where,
    )


def _read_baselines(tree: Tree, scope: Scope) -> Iterator[Baseline]:
    for item in tree.one_or_more():
        fields = item.fields(PLACES["baseline"], required=("finding",))
        if "take" in fields:
            fields["take"].one_of(PLACES["baseline take"], "selection")
        yield Baseline(
            selection=read_selection(fields, item.where, scope),
            flags=read_texts(fields, "flags"),
            where=item.where,
        )


# --- ladders ----------------------------------------------------------------------------------------------


def _read_ladder(tree: Tree, measures: dict[str, Measure], scope: Scope) -> Ladder:
    fields = tree.fields(PLACES["ladder"], required=("id", "text", "states"))
    measure = _measure(fields["measure"], measures) if "measure" in fields else NOTHING
    items = fields["states"].items()
    ids = tuple(item.fields()["id"].text() for item in items if "id" in item.fields())
    if len(set(ids)) != len(ids):
        raise fields["states"].mistake("two states have the same id")
    dosing = _read_dosing(fields["dose"], scope) if "dose" in fields else None
    states = []
    for item in items:
        with scope.mistakes.collected():
            states.append(read_state(item, ids, measure, dosing, scope))
    if not items:
        raise fields["states"].mistake("a ladder has at least one state")
    by_id = {state.id: state for state in states}
    _check_reached(states)
    begin = read_moment(fields["start"], scope) if "start" in fields else None
    if begin is None and states and any(way.after for way in states[0].next):
        raise items[0].mistake("after: in the first state needs a day to count from", "add start: <moment>")
    text, text_zh = read_text(fields, "text")
    exit_criterion = ""
    if "criterion" in fields:
        exit_criterion = fields["criterion"].one_of(scope.criterion_ids, "criterion")
    return Ladder(
        id=fields["id"].text(),
        text=text,
        text_zh=text_zh,
        source=fields["source"].text() if "source" in fields else "",
        criterion=exit_criterion,
        when=read_condition(fields["when"], scope) if "when" in fields else None,
        begin=begin,
        measure=measure,
        alerts=tuple(_read_alerts(fields.get("alerts"), ids, measures, scope)),
        companion=_read_companion(fields["beside"], scope) if "beside" in fields else None,
        dosing=dosing,
        turnaround=read_days(fields["turnaround"]) if "turnaround" in fields else 0,
        states=tuple(states),
        alternatives=tuple(_read_alternatives(fields.get("alternatives"), by_id, ids, measure, scope)),
        where=tree.where,
    )


def _check_reached(states: list[State]) -> None:
    """Every state but the first is the end of some way out of another."""
    reached = {way.target for state in states for way in state.next if way.target != state.id}
    for state in states[1:]:
        if state.id not in reached:
            raise Mistake(
                f"nothing leads to state {state.id!r}", state.where, "add a way out to it, or drop it"
            )


def _measure(tree: Tree, measures: dict[str, Measure]) -> Measure:
    return measures[tree.one_of(tuple(measures), "measure")]


def _read_dosing(tree: Tree, scope: Scope) -> Dosing:
    """The drug with its limits: ``minimum: 0.5 mg/d`` or ``minimum: none``; the unit is per day."""
    fields = tree.fields(PLACES["dose"], required=("drug", "minimum"))
    drugs = tuple(item.one_of(tuple(scope.vocabulary.drugs), "drug") for item in fields["drug"].one_or_more())
    limits: dict[str, Fraction | None] = {"minimum": None, "maximum": None}
    units = {fields["unit"].text()} if "unit" in fields else set()
    for name in limits:
        if name not in fields or fields[name].text() in PLACES["no limit"]:
            continue
        amount = read_plain_amount(fields[name])
        if not amount.unit.endswith("/d"):
            raise fields[name].mistake(f"a daily dose is needed, found {amount.text!r}", "like '0.5 mg/d'")
        limits[name] = amount.value
        units.add(amount.unit.removesuffix("/d"))
    if len(units) > 1:
        raise tree.mistake(f"doses in different units: {', '.join(sorted(units))}")
    return Dosing(
        drugs=drugs,
        unit=next(iter(units), "mg"),
        minimum=limits["minimum"],
        maximum=limits["maximum"],
        where=tree.where,
    )


def _read_companion(tree: Tree, scope: Scope) -> Companion:
    fields = tree.fields(PLACES["beside"])
    if ("reading" in fields) == ("finding" in fields):
        raise tree.mistake("exactly one of finding: and reading: is needed")
    if "reading" in fields:
        selection = scope.readings[fields["reading"].one_of(scope.reading_names, "reading")]
    else:
        selection = read_selection(fields, tree.where, scope)
    level = Measure(name="the reading beside it", kind="level", selection=selection)
    return Companion(
        selection=selection,
        look_back=read_days(fields["look_back"]) if "look_back" in fields else 0,
        missing=fields["missing"].text() if "missing" in fields else "",
        bounds=read_bounds(fields, level, scope),
        flag=fields["flag"].text() if "flag" in fields else "",
        where=tree.where,
    )


def _read_alerts(
    tree: Tree | None, ids: tuple[str, ...], measures: dict[str, Measure], scope: Scope
) -> Iterator[Alert]:
    for item in tree.items() if tree is not None else ():
        with scope.mistakes.collected():
            fields = item.fields(PLACES["alert"], required=("name", "measure"))
            measure = _measure(fields["measure"], measures)
            bounds = read_bounds(fields, measure, scope)
            if not bounds:
                raise item.mistake("an alert needs a comparison", "like 'above: 50 %'")
            states = fields["in"].one_or_more() if "in" in fields else []
            yield Alert(
                name=fields["name"].text(),
                measure=measure,
                bounds=bounds,
                states=tuple(state.one_of(ids, "state") for state in states),
                where=item.where,
            )


def _read_alternatives(
    tree: Tree | None, states: dict[str, State], ids: tuple[str, ...], measure: Measure, scope: Scope
) -> Iterator[OtherLadder]:
    for item in tree.items() if tree is not None else ():
        with scope.mistakes.collected():
            fields = item.fields(PLACES["alternative"], required=("name", "reading", "next"))
            ways = []
            for key, value in fields["next"].pairs():
                name = key.one_of(ids, "state")
                if name in states:
                    ways.append((name, read_ways(value, ids, states[name], measure, scope)))
            yield OtherLadder(
                name=fields["name"].text(),
                reading=fields["reading"].text(),
                next=tuple(ways),
                where=item.where,
            )
