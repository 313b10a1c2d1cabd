"""Reading ``ladders.yaml`` into :class:`adapter.model.ladder.Ladder`.

As for ``protocol.yaml``: every mistake names ``file:line:column`` and, for an unknown word, the nearest known
one; all mistakes of a file are reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Literal

import msgspec

from adapter.model.ladder import (
    ENTRY,
    Alert,
    Baseline,
    Companion,
    DayName,
    DoseStep,
    Dosing,
    Ladder,
    Measure,
    OtherLadder,
    Otherwise,
    Overdue,
    Review,
    Since,
    State,
    Transition,
    Trigger,
)
from adapter.model.nodes import Period
from adapter.model.protocol import Protocol, Vocabulary
from adapter.model.quantity import parse_number
from adapter.model.rules import Bound
from adapter.protocol import words
from adapter.protocol.amounts import Scope, read_amount, read_days, read_plain_amount
from adapter.protocol.ladder_words import DOSE_CHANGES, LATE, MEASURES, PLACES, TIMINGS
from adapter.protocol.selections import read_selection
from adapter.protocol.tree import Mistakes, Tree, read_tree

FILE_NAME = "ladders.yaml"
Fields = dict[str, Tree]


def load_ladders(folder: Path, vocabulary: Vocabulary, protocol: Protocol) -> tuple[Ladder, ...]:
    """The ladders in ``folder/ladders.yaml``, none if there is no such file.

    ``protocol`` gives the anchors that the ladders may name. Raises :class:`adapter.errors.ProtocolError`.
    """
    if not (folder / FILE_NAME).exists():
        return ()
    windows = {named.name: named.rule for named in protocol.windows if isinstance(named.rule, Period)}
    scope = Scope(
        vocabulary,
        Mistakes(),
        anchor_names=tuple(named.name for named in protocol.anchors),
        window_names=tuple(windows),
        windows=windows,
    )
    ladders: list[Ladder] = []
    with scope.mistakes.collected():
        fields = read_tree(folder / FILE_NAME).fields(PLACES["ladders"], required=("measures", "ladders"))
        measures: dict[str, Measure] = {}
        for key, value in fields["measures"].pairs():
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
    for word, wanted in (("against", change), ("series", False), ("of", kind == "highest_multiple")):
        if wanted and word not in fields:
            raise tree.mistake(f"missing {word!r}", f"add {word}: beside {kind}:")
        if word in fields and not wanted and not (word == "series" and change):
            raise fields[word].mistake(f"{word}: has no meaning beside {kind}:")
    return Measure(
        name=name,
        kind=kind,
        selection=selection,
        baselines=tuple(_read_baselines(fields["against"], scope)) if change else (),
        series=_texts(fields, "series"),
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
            flags=_texts(fields, "flags"),
            where=item.where,
        )


def _read_bounds(fields: Fields, measure: Measure, scope: Scope) -> tuple[Bound, ...]:
    """Comparisons with the measure, in its unit: ``30 %``, ``2 x``, or the concept's own."""
    found = []
    for word in words.COMPARISONS:
        if word not in fields:
            continue
        tree = fields[word]
        if measure.kind == "level":
            amount = read_amount(tree, measure.selection.concepts, scope)
            if amount.of:
                raise tree.mistake("a level is compared with an amount", "use highest_multiple: or fall:")
        else:
            amount = read_plain_amount(tree)
            if amount.unit != measure.unit:
                example = f"30 {measure.unit}" if measure.unit == "%" else f"2 {measure.unit}"
                raise tree.mistake(
                    f"{measure.name} is measured in {measure.unit!r}, found {tree.text()!r}",
                    f"write it like '{example}'",
                )
        found.append(Bound(comparison=word, amount=amount, where=tree.where))
    return tuple(found)


# --- ladders ----------------------------------------------------------------------------------------------


def _read_ladder(tree: Tree, measures: dict[str, Measure], scope: Scope) -> Ladder:
    fields = tree.fields(PLACES["ladder"], required=("id", "text", "measure", "states"))
    measure = _measure(fields["measure"], measures)
    items = fields["states"].items()
    ids = tuple(item.fields()["id"].text() for item in items if "id" in item.fields())
    if len(set(ids)) != len(ids):
        raise fields["states"].mistake("two states have the same id")
    dosing = _read_dosing(fields["dose"], scope) if "dose" in fields else None
    states = []
    for item in items:
        with scope.mistakes.collected():
            states.append(_read_state(item, ids, measure, dosing, scope))
    if not items:
        raise fields["states"].mistake("a ladder has at least one state")
    by_id = {state.id: state for state in states}
    text, text_zh = _text(fields, "text")
    return Ladder(
        id=fields["id"].text(),
        text=text,
        text_zh=text_zh,
        source=fields["source"].text() if "source" in fields else "",
        criterion=fields["criterion"].text() if "criterion" in fields else "",
        measure=measure,
        alerts=tuple(_read_alerts(fields.get("alerts"), ids, measures, scope)),
        companion=_read_companion(fields["beside"], scope) if "beside" in fields else None,
        dosing=dosing,
        turnaround=read_days(fields["turnaround"]) if "turnaround" in fields else 0,
        states=tuple(states),
        alternatives=tuple(_read_alternatives(fields.get("alternatives"), by_id, ids, measure, scope)),
        where=tree.where,
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
    fields = tree.fields(PLACES["beside"], required=("finding",))
    selection = read_selection(fields, tree.where, scope)
    level = Measure(name="the reading beside it", kind="level", selection=selection)
    return Companion(
        selection=selection,
        look_back=read_days(fields["look_back"]) if "look_back" in fields else 0,
        missing=fields["missing"].text() if "missing" in fields else "",
        bounds=_read_bounds(fields, level, scope),
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
            bounds = _read_bounds(fields, measure, scope)
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
                    ways.append((name, _read_ways(value, ids, states[name], measure, scope)))
            yield OtherLadder(
                name=fields["name"].text(),
                reading=fields["reading"].text(),
                next=tuple(ways),
                where=item.where,
            )


# --- states -----------------------------------------------------------------------------------------------


def _read_state(
    tree: Tree, ids: tuple[str, ...], measure: Measure, dosing: Dosing | None, scope: Scope
) -> State:
    fields = tree.fields(PLACES["state"], required=("id", "name"))
    days = tuple(_read_days(fields["days"], scope)) if "days" in fields else ()
    name, name_zh = _text(fields, "name")
    action, action_zh = _text(fields, "action")
    if "dose" in fields and dosing is None:
        raise fields["dose"].mistake("the ladder names no drug", "add dose: {drug: .., minimum: ..} to it")
    state = State(
        id=fields["id"].text(),
        name=name,
        name_zh=name_zh,
        action=action,
        action_zh=action_zh,
        dose=_read_dose_step(fields["dose"]) if "dose" in fields else None,
        days=days,
        review=_read_review(fields["review"], days) if "review" in fields else None,
        overdue=_read_overdue(fields["overdue"]) if "overdue" in fields else Overdue(),
        otherwise=_read_otherwise(fields["otherwise"]) if "otherwise" in fields else Otherwise(),
        terminal=fields["terminal"].yes_or_no() if "terminal" in fields else False,
        where=tree.where,
    )
    if state.terminal and "next" in fields:
        raise fields["next"].mistake("nothing comes after a terminal state")
    if not state.terminal and "next" not in fields:
        raise tree.mistake("missing 'next'", "add next: here, or terminal: true")
    if "overdue" in fields and state.review is None:
        raise fields["overdue"].mistake("overdue: needs a review:")
    if "next" not in fields:
        return state
    return msgspec.structs.replace(state, next=_read_ways(fields["next"], ids, state, measure, scope))


def _read_ways(
    tree: Tree, ids: tuple[str, ...], state: State, measure: Measure, scope: Scope
) -> tuple[Transition, ...]:
    return tuple(_read_way(item, ids, state, measure, scope) for item in tree.items())


def _read_way(tree: Tree, ids: tuple[str, ...], state: State, measure: Measure, scope: Scope) -> Transition:
    fields = tree.fields(PLACES["next"], required=("to",))
    bounds = _read_bounds(fields, measure, scope)
    if not bounds:
        raise tree.mistake("a way out needs a comparison", f"one of {', '.join(words.COMPARISONS)}")
    timing = fields["at"].one_of(TIMINGS, "time") if "at" in fields else "any"
    if timing == "review" and state.review is None:
        raise fields["at"].mistake(f"state {state.id} has no review:")
    risen = fields["risen"].yes_or_no() if "risen" in fields else False
    if risen and measure.kind not in ("highest_multiple", "level"):
        raise fields["risen"].mistake(f"risen: has no meaning for {measure.kind}:")
    trigger = Trigger(
        bounds=bounds,
        risen=risen,
        since=_read_since(fields["since"], state) if "since" in fields else None,
        again_within=read_days(fields["again_within"]) if "again_within" in fields else None,
        timing=timing,
        where=tree.where,
    )
    return Transition(
        target=fields["to"].one_of(ids, "state"),
        trigger=trigger,
        flags=_texts(fields, "flags"),
        where=tree.where,
    )


def _read_since(tree: Tree, state: State) -> Since:
    fields = tree.fields(PLACES["since"], required=("day", "at_least"))
    names = (ENTRY, *(day.name for day in state.days))
    return Since(
        day=fields["day"].one_of(names, "day of the state"),
        days=read_days(fields["at_least"]),
        where=tree.where,
    )


def _read_days(tree: Tree, scope: Scope) -> Iterator[DayName]:
    for key, value in tree.pairs():
        fields = value.fields(PLACES["day"])
        if "attested" not in fields and "exposure" not in fields:
            raise value.mistake("a day is attested: or the first exposure: to a drug")
        by, drugs = _read_drugs(fields["exposure"], scope) if "exposure" in fields else (None, ())
        yield DayName(
            name=key.text(),
            link=fields["attested"].text() if "attested" in fields else "",
            by=by,
            drugs=drugs,
            flag=fields["or_entry"].text() if "or_entry" in fields else "",
            where=value.where,
        )


def _read_drugs(tree: Tree, scope: Scope) -> tuple[Literal["drug", "role", "class"], tuple[str, ...]]:
    pairs = tree.pairs()
    if len(pairs) != 1:
        raise tree.mistake("name exactly one of drug:, role: or class:")
    [(key, names)] = pairs
    by = key.one_of(words.SELECTORS, "way to name drugs")
    vocabulary = scope.vocabulary
    known = {"drug": tuple(vocabulary.drugs), "role": vocabulary.roles(), "class": vocabulary.classes()}[by]
    return by, tuple(item.one_of(known, by) for item in names.one_or_more())


def _read_review(tree: Tree, days: tuple[DayName, ...]) -> Review:
    fields = tree.fields(PLACES["review"], required=("after", "from", "to"))
    names = (ENTRY, *(day.name for day in days))
    counted = fields["counted_from"].one_or_more() if "counted_from" in fields else []
    review = Review(
        target=read_days(fields["after"]),
        first=read_days(fields["from"]),
        last=read_days(fields["to"]),
        counted_from=tuple(item.one_of(names, "day of the state") for item in counted) or (ENTRY,),
        where=tree.where,
    )
    if not 0 < review.first <= review.target <= review.last:
        raise tree.mistake("a review needs 0 < from <= after <= to")
    return review


def _read_overdue(tree: Tree) -> Overdue:
    fields = tree.fields(PLACES["overdue"], required=("flag",))
    return Overdue(
        flag=fields["flag"].text(),
        late=fields["late"].one_of(LATE, "meaning of a late result") if "late" in fields else "waits",
        late_flag=fields["late_flag"].text() if "late_flag" in fields else "",
        where=tree.where,
    )


def _read_otherwise(tree: Tree) -> Otherwise:
    fields = tree.fields(PLACES["otherwise"])
    settles, settles_zh = _text(fields, "settles")
    return Otherwise(flags=_texts(fields, "flags"), settles=settles, settles_zh=settles_zh, where=tree.where)


def _read_dose_step(tree: Tree) -> DoseStep:
    if not tree.is_mapping:
        return DoseStep(change=tree.one_of(DOSE_CHANGES, "dose step"), where=tree.where)
    fields = tree.fields(PLACES["dose step"], required=("factor",))
    factor = parse_number(fields["factor"].text())
    if factor is None or factor <= 0:
        raise fields["factor"].mistake("a factor is a number above 0", "like 'factor: 0.5'")
    return DoseStep(change="factor", factor=factor, where=tree.where)


def _texts(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(item.text() for item in fields[name].one_or_more()) if name in fields else ()


def _text(fields: Fields, name: str) -> tuple[str, str]:
    """A text in English and Chinese, or a plain text in English."""
    if name not in fields:
        return "", ""
    if not fields[name].is_mapping:
        return fields[name].text(), ""
    parts = fields[name].fields(PLACES["text"])
    return parts["en"].text() if "en" in parts else "", parts["zh"].text() if "zh" in parts else ""
