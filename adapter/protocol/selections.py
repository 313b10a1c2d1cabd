"""Reading the parts that pick rows: periods, selections of readings, their tests, anchors."""

from __future__ import annotations

from typing import Literal

from adapter.model.quantity import Comparison
from adapter.model.rules import (
    AnchorDay,
    AnchorRule,
    AsOf,
    AttestedDay,
    BirthDay,
    EarliestOf,
    EventDay,
    ExposureDay,
    FirstKnown,
    ReadingDay,
)
from adapter.model.selection import (
    Answers,
    Bound,
    Bounds,
    Codes,
    DayTest,
    EventTest,
    Exists,
    ExposureTest,
    MeasuredBy,
    NotDuring,
    Presence,
    ReadingTest,
    Selection,
    Silence,
)
from adapter.protocol import words
from adapter.protocol.amounts import (
    Scope,
    read_amount,
    read_days,
    read_moment,
    read_period,
    read_plain_amount,
)
from adapter.protocol.course_grammar import read_selected, read_timed
from adapter.protocol.saying import say, spoken
from adapter.protocol.tree import Tree

_ENDS: tuple[Literal["earliest", "latest"], ...] = ("earliest", "latest")
_CATEGORY_TYPES = {
    "diagnosis": "Condition",
    "procedure": "Procedure",
    "consent": "Consent",
    "encounter": "Encounter",
    "adverse-event": "AdverseEvent",
    "research-subject": "ResearchSubject",
    "allergy": "AllergyIntolerance",
    "report": "DiagnosticReport",
    "specimen": "Specimen",
}


def read_concepts(tree: Tree, kind: str, scope: Scope, narrower: bool = False) -> tuple[str, ...]:
    """One or more concept keys of ``mappings/concepts.yaml``; ``narrower`` adds those that imply them."""
    known = [key for key, concept in scope.vocabulary.concepts.items() if concept.kind == kind]
    found: list[str] = []
    for item in tree.one_or_more():
        concept = item.one_of(known, f"{kind} concept")
        found += scope.vocabulary.with_narrower(concept) if narrower else (concept,)
    return tuple(dict.fromkeys(found))


def read_selection(fields: dict[str, Tree], where: str, scope: Scope) -> Selection:
    """``finding:`` with its modifiers; the fields of a test beside it are left to the caller."""
    concepts = read_concepts(fields["finding"], "finding", scope)
    take = fields["take"].one_of(words.TAKES, "selection") if "take" in fields else "latest"
    if (take == "nearest") != ("near" in fields):
        raise fields["finding"].mistake("take: nearest and near: <moment> belong together")
    support = [name for concept in concepts for name in scope.vocabulary.concepts[concept].support]
    if "support" in fields:
        support += read_concepts(fields["support"], "finding", scope)
    guards = fields["not_during"].one_or_more() if "not_during" in fields else []
    last = _read_count(fields, "last")
    if take in words.AVERAGES:
        _check_average(fields, concepts, scope)
    return Selection(
        concepts=tuple(
            dict.fromkeys(name for concept in concepts for name in scope.vocabulary.with_narrower(concept))
        ),
        label=say(" or ").join(scope.vocabulary.concepts[concept].label or concept for concept in concepts),
        take=take,
        near=read_moment(fields["near"], scope) if "near" in fields else None,
        period=read_period(fields, scope),
        methods=tuple(item.text() for item in fields["method"].one_or_more()) if "method" in fields else (),
        not_during=tuple(_read_guard(item, scope) for item in guards),
        support=tuple(dict.fromkeys(support)),
        minimum=_read_count(fields, "of_at_least") or last or 1,
        last=last,
        timed=read_timed(fields["timed"], scope) if "timed" in fields else None,
        where=where,
    )


def _read_count(fields: dict[str, Tree], word: str) -> int:
    if word not in fields:
        return 0
    if not (count := fields[word].whole()):
        raise fields[word].mistake(f"{word}: needs a number of readings, at least 1")
    return count


def _check_average(fields: dict[str, Tree], concepts: tuple[str, ...], scope: Scope) -> None:
    """A mean is of numbers in one unit, and put to a test for numbers."""
    units = {scope.vocabulary.concepts[concept].unit for concept in concepts}
    if len(units) != 1:
        raise fields["finding"].mistake(f"{', '.join(concepts)} have different units", "one mean for each")
    check_numbers(fields)


def check_numbers(fields: dict[str, Tree]) -> None:
    """Beside a mean or median no test but one for numbers."""
    for word in ("is", "code", "measured_by"):
        if word in fields:
            raise fields[word].mistake(f"{word}: does not go with a mean or median", "compare it: above: ..")


def _read_guard(tree: Tree, scope: Scope) -> NotDuring:
    fields = tree.fields(words.PLACES["not_during"])
    if ("event" in fields) == ("exposure" in fields):
        raise tree.mistake("not_during needs either event: or exposure:")
    return NotDuring(
        condition=read_event(fields, tree.where, scope)
        if "event" in fields
        else read_exposure(fields, tree.where, scope),
        margin_days=read_days(fields["margin"]) if "margin" in fields else 0,
        flag=fields["flag"].text() if "flag" in fields else "",
        where=tree.where,
    )


def read_reading_test(fields: dict[str, Tree], concepts: tuple[str, ...] | None, scope: Scope) -> ReadingTest:
    """The one test among the fields; ``concepts`` None means an answer of a person (units as written)."""
    bounds = _read_bounds(fields, concepts, scope)
    others: list[ReadingTest] = []
    if "is" in fields:
        others.append(_read_is(fields["is"], concepts))
    if "code" in fields:
        codes = tuple(item.text() for item in fields["code"].one_or_more())
        others.append(Codes(codes=codes, where=fields["code"].where))
    if "measured_by" in fields:
        methods = tuple(item.text() for item in fields["measured_by"].one_or_more())
        others.append(MeasuredBy(methods=methods, where=fields["measured_by"].where))
    if "exists" in fields:
        fields["exists"].one_of(("true",), "value of exists")
        others.append(Exists(where=fields["exists"].where))
    for relation in words.DATE_RELATIONS:
        if relation in fields:
            moment = read_moment(fields[relation], scope)
            others.append(DayTest(relation=relation, moment=moment, where=fields[relation].where))
    if bounds:
        stated = fields["words"].fields() if "words" in fields else {}
        meanings = tuple((word, value.text()) for word, value in stated.items())
        others.append(Bounds(bounds=tuple(bounds), words=meanings, where=bounds[0].where))
    if len(others) != 1:
        place = next(iter(fields.values()))
        tests = ", ".join(words.READING_TESTS[:-1])
        raise place.mistake(f"exactly one test is needed here, found {len(others)}", f"one of {tests}")
    return others[0]


def _read_is(tree: Tree, concepts: tuple[str, ...] | None) -> ReadingTest:
    if concepts is None:
        return Codes(codes=(tree.one_of(("true", "false"), "truth value"),), where=tree.where)
    answers = tuple(item.one_of(words.ANSWERS, "answer") for item in tree.one_or_more())
    if "positive" in answers and "weak_positive" not in answers:
        answers = (*answers, "weak_positive")
    return Answers(answers=answers, where=tree.where)


def _read_bounds(fields: dict[str, Tree], concepts: tuple[str, ...] | None, scope: Scope) -> list[Bound]:
    def bound(comparison: Comparison, tree: Tree) -> Bound:
        amount = read_plain_amount(tree) if concepts is None else read_amount(tree, concepts, scope)
        return Bound(comparison=comparison, amount=amount, where=tree.where)

    found = [bound(word, fields[word]) for word in words.COMPARISONS if word in fields]
    if "between" in fields:
        ends = fields["between"].items()
        if len(ends) != 2:
            raise fields["between"].mistake("between needs a lowest and a highest amount")
        found += [bound("at_least", ends[0]), bound("at_most", ends[1])]
    return found


def read_event(fields: dict[str, Tree], where: str, scope: Scope) -> EventTest:
    """``event:`` with its modifiers; what silence means comes from the concepts, or ``if_none:``."""
    narrower = fields["narrower"].yes_or_no() if "narrower" in fields else True
    category = fields["category"].text() if "category" in fields else ""
    if category and category not in _CATEGORY_TYPES:
        raise fields["category"].unknown(category, _CATEGORY_TYPES, "event category")
    if category == "allergy":
        known = (*scope.vocabulary.of_kind("event"), *scope.vocabulary.drugs)
        named = tuple(item.one_of(known, "concept or drug") for item in fields["event"].one_or_more())
        concepts = named
    else:
        named = read_concepts(fields["event"], "event", scope)
        concepts = read_concepts(fields["event"], "event", scope, narrower)
    infos = [scope.vocabulary.concepts[name] for name in concepts if name in scope.vocabulary.concepts]
    types = {name for info in infos for name in info.resource_types}
    if category:
        types = {_CATEGORY_TYPES[category]}
    covered = len(infos) == len(concepts) and all(info.silence == "absent_if_covered" for info in infos)
    presence = _read_presence(fields["presence"]) if "presence" in fields else ("present",)
    return EventTest(
        concepts=concepts,
        label=say(" or ").join(_label(name, scope) for name in named),
        presence=presence,
        period=read_period(fields, scope),
        timing=fields["timing"].one_of(words.TIMINGS, "timing") if "timing" in fields else "overlap",
        category=category,
        having=_read_attributes(fields, "having"),
        lacking=_read_attributes(fields, "lacking"),
        silence=_silence(fields, covered),
        resource_types=tuple(sorted(types)),
        where=where,
    )


def _read_presence(tree: Tree) -> tuple[Presence, ...]:
    if not tree.is_list and tree.text() == "any":
        return ("present", "past")
    return tuple(item.one_of(words.PRESENCES, "presence") for item in tree.one_or_more())


def _label(name: str, scope: Scope) -> str:
    if name in scope.vocabulary.concepts:
        return scope.vocabulary.concepts[name].label or name
    return scope.vocabulary.drugs[name].label or name


def _read_attributes(fields: dict[str, Tree], word: str) -> tuple[tuple[str, str], ...]:
    if word not in fields:
        return ()
    return tuple((name, value.text()) for name, value in fields[word].fields().items())


def _silence(fields: dict[str, Tree], covered: bool) -> Silence | Literal["absent"]:
    if "if_none" in fields:
        return fields["if_none"].one_of(words.IF_NONE, "meaning of silence")
    return "absent_if_covered" if covered else "unknown"


def read_exposure(fields: dict[str, Tree], where: str, scope: Scope) -> ExposureTest:
    """``exposure: {drug|role|class: ..}`` with its modifiers."""
    chosen = fields["exposure"].pairs()
    if len(chosen) != 1:
        raise fields["exposure"].mistake("name exactly one of drug:, role: or class:")
    [(key, tree)] = chosen
    by = key.one_of(words.SELECTORS, "way to name drugs")
    drugs = scope.vocabulary.drugs
    known = {"drug": tuple(drugs), "role": scope.vocabulary.roles(), "class": scope.vocabulary.classes()}[by]
    names = tuple(item.one_of(known, by) for item in tree.one_or_more())
    others = fields["other_than"].one_or_more() if "other_than" in fields else []
    covered = by == "drug" and all(drugs[name].silence == "absent_if_covered" for name in names)
    kinds = fields["kind"].one_or_more() if "kind" in fields else []
    label = say(" or ").join((drugs[name].label or name) if by == "drug" else spoken(name) for name in names)
    return ExposureTest(
        by=by,
        names=names,
        label=label if by == "drug" else say(f"drug of {by} {{name}}", name=label),
        other_than=tuple(item.one_of(tuple(drugs), "drug") for item in others),
        period=read_period(fields, scope),
        systemic=fields["systemic"].yes_or_no() if "systemic" in fields else False,
        kinds=tuple(item.one_of(words.PLACES["kind"], "kind of record") for item in kinds),
        single_day=fields["single_day"].yes_or_no() if "single_day" in fields else False,
        silence=_silence(fields, covered),
        where=where,
    )


def read_anchor(tree: Tree, scope: Scope) -> AnchorRule:
    """One rule under ``anchors:``."""
    fields = tree.fields()
    kind = next((word for word in words.PLACES["anchor"] if word in fields), None)
    if kind is None:
        raise tree.mistake("no kind of anchor", f"one of {', '.join(words.PLACES['anchor'])}")
    value, where = fields[kind], tree.where
    if kind == "event":
        tree.fields(words.PLACES["event anchor"])
        concepts = read_concepts(value, "event", scope, narrower=True)
        infos = [scope.vocabulary.concepts[name] for name in concepts if name in scope.vocabulary.concepts]
        return EventDay(
            concepts=concepts,
            resource_types=tuple(sorted({name for info in infos for name in info.resource_types})),
            take=fields["take"].one_of(_ENDS, "selection") if "take" in fields else "latest",
            edge=fields["edge"].one_of(words.EDGES, "edge") if "edge" in fields else "start",
            having=_read_attributes(fields, "having"),
            where=where,
        )
    if kind == "exposure":
        tree.fields(words.PLACES["exposure anchor"])
        drugs, label = read_selected(value.fields(words.SELECTORS), value, scope)
        return ExposureDay(
            drugs=drugs,
            label=label,
            take=fields["take"].one_of(_ENDS, "selection") if "take" in fields else "latest",
            edge=fields["edge"].one_of(words.EDGES, "edge") if "edge" in fields else "start",
            period=read_period(fields, scope),
            where=where,
        )
    if kind == "reading":
        tree.fields(words.PLACES["reading anchor"])
        name = value.one_of(scope.reading_names, "reading")
        selection = scope.readings.get(name)
        if selection is None:
            raise value.mistake(f"reading {name!r} has a mistake of its own")
        test = read_reading_test(fields, selection.concepts, scope) if len(fields) > 1 else None
        return ReadingDay(selection=selection, test=test, where=where)
    tree.fields((kind,))
    if kind in ("as_of", "birth"):
        value.one_of(("true",), f"value of {kind}")
        return AsOf(where=where) if kind == "as_of" else BirthDay(where=where)
    if kind == "attested":
        return AttestedDay(link=value.text(), where=where)
    if kind == "anchor":
        return AnchorDay(moment=read_moment(value, scope), where=where)
    options = tuple(read_anchor(item, scope) for item in value.items())
    if kind == "first_known":
        return FirstKnown(options=options, where=where)
    return EarliestOf(options=options, where=where)
