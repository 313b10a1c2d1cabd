"""Reading conditions: one operator key per mapping, with the modifiers that may stand beside it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from adapter.model.decision import Verdict
from adapter.model.nodes import Duration
from adapter.model.quantity import Comparison
from adapter.model.rules import (
    Age,
    AllOf,
    AnyOf,
    Apart,
    Attested,
    Change,
    Condition,
    CriterionIs,
    DayIs,
    Deceased,
    Elapsed,
    Implies,
    Not,
    ReadingIs,
    Repeated,
    SexIs,
    Share,
    SomeOf,
)
from adapter.model.selection import Beside, Bound, Selection
from adapter.protocol import words
from adapter.protocol.amounts import (
    Scope,
    read_amount,
    read_days,
    read_difference,
    read_duration,
    read_hours,
    read_moment,
    read_percent,
)
from adapter.protocol.course_grammar import (
    read_arm,
    read_dose,
    read_dose_change,
    read_eligibility,
    read_gap,
    read_ladder,
    read_response,
)
from adapter.protocol.selections import (
    check_numbers,
    read_event,
    read_exposure,
    read_reading_test,
    read_selection,
)
from adapter.protocol.tree import Mistake, Tree

Fields = dict[str, Tree]


def read_condition(tree: Tree, scope: Scope) -> Condition:
    """One condition; raises :class:`Mistake` with its place when it is not in the vocabulary."""
    fields = tree.fields()
    operators = [word for word in fields if word in _READERS]
    if len(operators) != 1:
        unknown = [key for key, _ in tree.pairs() if key.text() not in _READERS]
        if not operators and len(unknown) == 1:
            raise unknown[0].unknown(unknown[0].text(), _READERS, "condition")
        found = ", ".join(operators) or "none"
        raise tree.mistake(
            f"a condition has exactly one operator, found {found}", "split it with all: or any:"
        )
    [operator] = operators
    tree.fields((operator, *words.CONDITIONS[operator]))
    return _READERS[operator](fields, tree, scope)


def read_parts(tree: Tree, scope: Scope) -> tuple[Condition, ...]:
    """A list of conditions; a mistake in one does not hide those in the others."""
    found, first = [], None
    for item in tree.items():
        try:
            found.append(read_condition(item, scope))
        except Mistake as mistake:
            if first is not None:
                scope.mistakes.found.append(first)
            first = mistake
    if first is not None:
        raise first
    if not found:
        raise tree.mistake("an empty list of conditions")
    return tuple(found)


def _all(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return AllOf(parts=read_parts(fields["all"], scope), where=tree.where)


def _any(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return AnyOf(parts=read_parts(fields["any"], scope), where=tree.where)


def _some(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    body = fields["some"].fields(words.PLACES["some"], required=("at_least", "of"))
    parts, count = read_parts(body["of"], scope), body["at_least"].whole()
    if not 1 <= count <= len(parts):
        raise body["at_least"].mistake(f"{count} of {len(parts)} conditions", "ask for 1 or more of them")
    return SomeOf(parts=parts, count=count, where=tree.where)


def _not(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return Not(part=read_condition(fields["not"], scope), where=tree.where)


def _if(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    if "then" not in fields:
        raise tree.mistake("if: without then:")
    guard = read_condition(fields["if"], scope)
    return Implies(guard=guard, then=read_condition(fields["then"], scope), where=tree.where)


def _criterion(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    verdict = fields["is"].one_of(words.VERDICTS, "verdict") if "is" in fields else "met"
    name = fields["criterion"].one_of(scope.criterion_ids, "criterion")
    return CriterionIs(id=name, verdict=Verdict(verdict), where=tree.where)


def _finding(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    selection = read_selection(fields, tree.where, scope)
    test = read_reading_test(fields, selection.concepts[:1], scope)
    return ReadingIs(selection=selection, test=test, where=tree.where)


def _named_selection(tree: Tree, scope: Scope) -> Selection:
    name = tree.one_of(scope.reading_names, "reading")
    if name not in scope.readings:
        raise tree.mistake(f"reading {name!r} cannot be used here", "correct it where it is defined")
    return scope.readings[name]


def _reading(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    selection = _named_selection(fields["reading"], scope)
    if selection.take in words.AVERAGES:
        check_numbers(fields)
    test = read_reading_test(fields, selection.concepts[:1], scope)
    return ReadingIs(selection=selection, test=test, where=tree.where)


def _attested(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    test = read_reading_test(fields, None, scope)
    return Attested(link=fields["attested"].text(), test=test, where=tree.where)


def _change_bound(fields: Fields, tree: Tree, concept: str, scope: Scope) -> Bound:
    found = [word for word in words.COMPARISONS if word in fields]
    if len(found) != 1:
        raise tree.mistake("exactly one comparison is needed here", "for example at_least: 30 %")
    amount = read_difference(fields[found[0]], concept, scope)
    return Bound(comparison=found[0], amount=amount, where=tree.where)


def _percent_bound(fields: Fields, tree: Tree) -> Bound:
    found = [word for word in words.COMPARISONS if word in fields]
    if len(found) != 1:
        raise tree.mistake("exactly one comparison is needed here", "for example at_least: 30 %")
    return Bound(comparison=found[0], amount=read_percent(fields[found[0]]), where=tree.where)


def _change(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    direction = "fall" if "fall" in fields else "rise"
    parts = fields[direction].fields(words.PLACES["change"], required=("from", "to"))
    start, end = _named_selection(parts["from"], scope), _named_selection(parts["to"], scope)
    reaching = None
    if "reaching" in fields:
        [(word, amount)] = fields["reaching"].pairs()
        reaching = Bound(
            comparison=word.one_of(words.COMPARISONS, "comparison"),
            amount=read_amount(amount, end.concepts[:1], scope),
            where=word.where,
        )
    if "same" in parts:
        parts["same"].one_of(words.PLACES["same"], "value of same")
    series = parts["series"].one_or_more() if "series" in parts else []
    return Change(
        direction="fall" if direction == "fall" else "rise",
        start=start,
        end=end,
        bound=_change_bound(fields, tree, end.concepts[0], scope),
        series=tuple(item.text() for item in series),
        same_series="same" in parts or bool(series),
        reaching=reaching,
        apart=_apart(parts["apart"]) if "apart" in parts else None,
        where=tree.where,
    )


def _apart(tree: Tree) -> Apart:
    """``{at_most: 48 hours}`` goes by the times of the readings, ``{at_most: 2 days}`` by their days."""
    parts = tree.fields(words.PLACES["apart"])
    if not parts:
        raise tree.mistake("apart: needs at_least: or at_most:")
    by_time = any("hour" in value.text() for value in parts.values())
    counts = {word: int(read_hours(value)) if by_time else read_days(value) for word, value in parts.items()}
    return Apart(
        at_least=counts.get("at_least"),
        at_most=counts.get("at_most"),
        unit="hours" if by_time else "days",
        where=tree.where,
    )


def _beside(parts: Fields, main: Selection, scope: Scope) -> tuple[Beside, ...]:
    items = parts["beside"].one_or_more() if "beside" in parts else []
    return tuple(_read_beside(item, main, scope) for item in items)


def _read_beside(tree: Tree, main: Selection, scope: Scope) -> Beside:
    fields = tree.fields(words.PLACES["beside"], required=("finding",))
    selection = msgspec.structs.replace(read_selection(fields, tree.where, scope), period=main.period)
    test = read_reading_test(fields, selection.concepts[:1], scope)
    return Beside(selection=selection, test=test, where=tree.where)


def _several(parts: Fields, body: Tree, scope: Scope) -> Selection:
    """Readings that are counted one by one: no single one of them is taken."""
    if "take" in parts:
        raise parts["take"].mistake("take: has no meaning here, every reading counts", "take it out")
    return read_selection(parts, body.where, scope)


def _repeated(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    body = fields["repeated"]
    parts = body.fields(words.PLACES["repeated"], required=("finding", "readings"))
    selection = _several(parts, body, scope)
    apart = parts["apart"].fields(words.PLACES["apart"]) if "apart" in parts else {}
    return Repeated(
        selection=selection,
        test=read_reading_test(parts, selection.concepts[:1], scope),
        readings=parts["readings"].whole(),
        apart_at_least=read_days(apart["at_least"]) if "at_least" in apart else 0,
        apart_at_most=read_days(apart["at_most"]) if "at_most" in apart else None,
        beside=_beside(parts, selection, scope),
        where=tree.where,
    )


def _share(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    body = fields["share"]
    parts = body.fields(words.PLACES["share"], required=("finding", "passing"))
    selection = _several(parts, body, scope)
    test = read_reading_test(parts, selection.concepts[:1], scope)
    bound = _percent_bound(parts["passing"].fields(words.PLACES["passing"]), parts["passing"])
    beside = _beside(parts, selection, scope)
    return Share(selection=selection, test=test, bound=bound, beside=beside, where=tree.where)


def _age(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    parts = fields["age"].fields(words.PLACES["age"], required=("at",))
    bounds: list[tuple[Comparison, int]] = []
    for word in words.COMPARISONS:
        if word in parts:
            duration = read_duration(parts[word])
            if duration.unit != "months" or duration.count % 12:
                raise parts[word].mistake("an age is given in whole years", "for example 18 years")
            bounds.append((word, duration.count // 12))
    if not bounds:
        raise tree.mistake("age: needs a comparison", "for example at_least: 18 years")
    return Age(at=read_moment(parts["at"], scope), bounds=tuple(bounds), where=tree.where)


def _sex(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return SexIs(sex=fields["sex"].one_of(words.SEXES, "sex"), where=tree.where)


def _deceased(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    parts = fields["deceased"].fields(words.PLACES["deceased"], required=("before",))
    return Deceased(before=read_moment(parts["before"], scope), where=tree.where)


def _elapsed(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    parts = fields["elapsed"].fields(words.PLACES["elapsed"], required=("since", "until"))
    bounds: list[tuple[words.Elapse, Duration]] = [
        (word, read_duration(parts[word])) for word in words.ELAPSED if word in parts
    ]
    if not bounds:
        raise tree.mistake("elapsed: needs a comparison", "for example more_than: 6 months")
    since, until = read_moment(parts["since"], scope), read_moment(parts["until"], scope)
    return Elapsed(since=since, until=until, bounds=tuple(bounds), where=tree.where)


def _date(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    found = [word for word in words.DATE_RELATIONS if word in fields]
    if len(found) != 1:
        raise tree.mistake("date: needs exactly one of before:, on_or_before:, after:, on_or_after:")
    return DayIs(
        moment=read_moment(fields["date"], scope),
        relation=found[0],
        other=read_moment(fields[found[0]], scope),
        where=tree.where,
    )


def _event(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return read_event(fields, tree.where, scope)


def _exposure(fields: Fields, tree: Tree, scope: Scope) -> Condition:
    return read_exposure(fields, tree.where, scope)


_READERS: dict[str, Callable[[Fields, Tree, Scope], Condition]] = {
    "all": _all,
    "any": _any,
    "some": _some,
    "not": _not,
    "if": _if,
    "criterion": _criterion,
    "finding": _finding,
    "reading": _reading,
    "attested": _attested,
    "fall": _change,
    "rise": _change,
    "repeated": _repeated,
    "share": _share,
    "age": _age,
    "sex": _sex,
    "deceased": _deceased,
    "elapsed": _elapsed,
    "date": _date,
    "event": _event,
    "exposure": _exposure,
    "response": read_response,
    "dose": read_dose,
    "dose_change": read_dose_change,
    "gap": read_gap,
    "ladder": read_ladder,
    "arm": read_arm,
    "eligibility": read_eligibility,
}
