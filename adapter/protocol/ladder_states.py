"""Reading the states of a ladder: what they ask for, when they are reviewed, and the ways out."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from adapter.model.ladder import (
    ENTRY,
    DayName,
    DoseStep,
    Dosing,
    Measure,
    Otherwise,
    Overdue,
    Review,
    Since,
    State,
    Transition,
    Trigger,
)
from adapter.model.quantity import parse_number
from adapter.model.selection import Bound, DrugSelector
from adapter.protocol import words
from adapter.protocol.amounts import Scope, read_amount, read_days, read_offset, read_plain_amount
from adapter.protocol.ladder_words import DOSE_CHANGES, LATE, PLACES, TIMINGS
from adapter.protocol.tree import Tree

Fields = dict[str, Tree]


def read_bounds(fields: Fields, measure: Measure, scope: Scope) -> tuple[Bound, ...]:
    """Comparisons with the measure, in its unit: ``30 %``, ``2 x``, or the concept's own."""
    found = []
    for word in words.COMPARISONS:
        if word not in fields:
            continue
        tree = fields[word]
        if measure.kind == "level":
            amount = read_amount(tree, measure.selection.concepts, scope)
            if amount.of:
                raise tree.mistake("a level is compared with an amount", "use multiple: or fall:")
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


def read_state(
    tree: Tree, ids: tuple[str, ...], measure: Measure, dosing: Dosing | None, scope: Scope
) -> State:
    fields = tree.fields(PLACES["state"], required=("id", "name"))
    days = tuple(_read_days(fields["days"], scope)) if "days" in fields else ()
    name, name_zh = read_text(fields, "name")
    action, action_zh = read_text(fields, "action")
    if "dose" in fields and dosing is None:
        raise fields["dose"].mistake("the ladder names no drug", "add dose: {drug: .., minimum: ..} to it")
    state = State(
        id=fields["id"].text(),
        name=name,
        name_zh=name_zh,
        action=action,
        action_zh=action_zh,
        dose=_read_dose_step(fields["dose"], dosing) if "dose" in fields else None,
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
    return msgspec.structs.replace(state, next=read_ways(fields["next"], ids, state, measure, scope))


def read_ways(
    tree: Tree, ids: tuple[str, ...], state: State, measure: Measure, scope: Scope
) -> tuple[Transition, ...]:
    return tuple(_read_way(item, ids, state, measure, scope) for item in tree.items())


def _read_way(tree: Tree, ids: tuple[str, ...], state: State, measure: Measure, scope: Scope) -> Transition:
    fields = tree.fields(PLACES["next"], required=("to",))
    if "after" in fields:
        return _read_timed_way(fields, tree, ids)
    if not measure.selection.concepts:
        raise tree.mistake(
            "the ladder has no measure:", "add measure: to it, or go by the calendar with after:"
        )
    bounds = read_bounds(fields, measure, scope)
    if not bounds:
        raise tree.mistake("a way out needs a comparison", f"one of {', '.join(words.COMPARISONS)}")
    timing = fields["at"].one_of(TIMINGS, "time") if "at" in fields else "any"
    if timing == "review" and state.review is None:
        raise fields["at"].mistake(f"state {state.id} has no review:")
    risen = fields["risen"].yes_or_no() if "risen" in fields else False
    if risen and (measure.kind not in ("multiple", "level") or measure.worst != "highest"):
        what = f"{measure.kind}:" if measure.worst == "highest" else "worst: lowest"
        raise fields["risen"].mistake(f"risen: has no meaning for {what}")
    if "again_after" in fields and "again_within" not in fields:
        raise fields["again_after"].mistake("again_after: needs again_within:")
    trigger = Trigger(
        bounds=bounds,
        risen=risen,
        since=_read_since(fields["since"], state) if "since" in fields else None,
        again_within=read_days(fields["again_within"]) if "again_within" in fields else None,
        again_after=read_days(fields["again_after"]) if "again_after" in fields else 1,
        timing=timing,
        where=tree.where,
    )
    return Transition(
        target=fields["to"].one_of(ids, "state"),
        trigger=trigger,
        flags=read_texts(fields, "flags"),
        where=tree.where,
    )


def _read_timed_way(fields: Fields, tree: Tree, ids: tuple[str, ...]) -> Transition:
    for word in fields:
        if word not in ("to", "after", "flags"):
            raise fields[word].mistake(f"{word}: has no meaning beside after:, which goes by the calendar")
    after = read_offset(fields["after"])
    if after.order <= 0:
        raise fields["after"].mistake("after: needs a time", "like '4 weeks' or '1 month'")
    return Transition(
        target=fields["to"].one_of(ids, "state"),
        trigger=Trigger(bounds=(), where=tree.where),
        after=after,
        flags=read_texts(fields, "flags"),
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


def _read_drugs(tree: Tree, scope: Scope) -> tuple[DrugSelector, tuple[str, ...]]:
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
    settles, settles_zh = read_text(fields, "settles")
    return Otherwise(
        flags=read_texts(fields, "flags"), settles=settles, settles_zh=settles_zh, where=tree.where
    )


def _read_dose_step(tree: Tree, dosing: Dosing | None) -> DoseStep:
    if not tree.is_mapping:
        return DoseStep(change=tree.one_of(DOSE_CHANGES, "dose step"), where=tree.where)
    fields = tree.fields(PLACES["dose step"])
    if len(fields) != 1:
        raise tree.mistake(
            "a dose step is one of factor: and daily:", "like 'factor: 0.5' or 'daily: 20 mg/d'"
        )
    if "daily" in fields:
        amount, unit = read_plain_amount(fields["daily"]), f"{dosing.unit}/d" if dosing else ""
        if amount.unit != unit:
            raise fields["daily"].mistake(f"a daily dose in {unit} is needed here", f"like '20 {unit}'")
        return DoseStep(change="daily", daily=amount.value, where=tree.where)
    factor = parse_number(fields["factor"].text())
    if factor is None or factor <= 0:
        raise fields["factor"].mistake("a factor is a number above 0", "like 'factor: 0.5'")
    return DoseStep(change="factor", factor=factor, where=tree.where)


def read_texts(fields: Fields, name: str) -> tuple[str, ...]:
    return tuple(item.text() for item in fields[name].one_or_more()) if name in fields else ()


def read_text(fields: Fields, name: str) -> tuple[str, str]:
    """A text in English and Chinese, or a plain text in English."""
    if name not in fields:
        return "", ""
    if not fields[name].is_mapping:
        return fields[name].text(), ""
    parts = fields[name].fields(PLACES["text"])
    return parts["en"].text() if "en" in parts else "", parts["zh"].text() if "zh" in parts else ""
