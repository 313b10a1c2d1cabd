"""Reading conditions about what happens after entry, and how levels are timed."""

from __future__ import annotations

from fractions import Fraction

from adapter.model.course import (
    EARLIER,
    ArmIs,
    DoseChanged,
    DoseIs,
    DoseOf,
    DoseTarget,
    EligibilityIs,
    GapIs,
    LadderIs,
    ResponseIs,
)
from adapter.model.decision import Overall
from adapter.model.quantity import Comparison
from adapter.model.selection import Amount, Bound, Selection, Timed
from adapter.protocol import words
from adapter.protocol.amounts import (
    Scope,
    read_days,
    read_hours,
    read_moment,
    read_period,
    read_plain_amount,
)
from adapter.protocol.tree import Tree

Fields = dict[str, Tree]


def read_response(fields: Fields, tree: Tree, scope: Scope) -> ResponseIs:
    states = tuple(item.one_of(words.RESPONSES, "response") for item in fields["response"].one_or_more())
    at = fields["at"].one_of((*scope.visit_ids, EARLIER), "visit") if "at" in fields else ""
    return ResponseIs(states=states, at=at, where=tree.where)


def read_dose(fields: Fields, tree: Tree, scope: Scope) -> DoseIs:
    parts = fields["dose"].fields(words.PLACES["dose"])
    drugs, label = read_selected(parts, fields["dose"], scope)
    if "area" in parts and "weight" in parts:
        raise parts["area"].mistake("a dose is either by weight: or by area:")
    size = (
        parts["area"].fields(words.PLACES["area"], required=words.PLACES["area"])
        if "area" in parts
        else parts
    )
    weight = _measured(size["weight"], scope, "kg", "weight") if "weight" in size else None
    height = _measured(size["height"], scope, "cm", "height") if "height" in size else None
    dose = DoseOf(
        drugs=drugs,
        label=label,
        take=parts["take"].one_of(words.DOSE_TAKES, "dose") if "take" in parts else "latest",
        period=read_period(parts, scope),
        weight=weight,
        height=height,
        where=fields["dose"].where,
    )
    if "target" in fields:
        if weight is None or height is not None or dose.take == "total":
            raise fields["target"].mistake("a target by weight needs weight: <reading>")
        tree.fields(("dose", "target"))
        return DoseIs(dose=dose, target=_target(fields["target"]), where=tree.where)
    unit = "mg/m2" if height is not None else "mg/kg" if weight is not None else "mg"
    unit += "" if dose.take == "total" else "/d"
    bounds = _bounds(fields, unit)
    if not bounds:
        raise tree.mistake("dose: needs a comparison or a target", f"for example at_most: 4 {unit}")
    return DoseIs(dose=dose, bounds=bounds, unit=unit, where=tree.where)


def _measured(tree: Tree, scope: Scope, unit: str, what: str) -> Selection:
    name = tree.one_of(scope.reading_names, "reading")
    found = scope.readings.get(name)
    if found is None:
        raise tree.mistake(f"reading {name!r} cannot be used here", "correct it where it is defined")
    if scope.vocabulary.concepts[found.concepts[0]].unit != unit:
        raise tree.mistake(f"reading {name!r} is no {what}", f"name a reading in {unit}")
    return found


def _bounds(fields: Fields, unit: str) -> tuple[Bound, ...]:
    found = [_bound(word, fields[word], unit) for word in words.COMPARISONS if word in fields]
    if "between" in fields:
        ends = fields["between"].items()
        if len(ends) != 2:
            raise fields["between"].mistake("between needs a lowest and a highest amount")
        found += [_bound("at_least", ends[0], unit), _bound("at_most", ends[1], unit)]
    return tuple(found)


def _bound(comparison: Comparison, tree: Tree, unit: str) -> Bound:
    return Bound(comparison=comparison, amount=_amount(tree, unit), where=tree.where)


def _amount(tree: Tree, unit: str) -> Amount:
    amount = read_plain_amount(tree)
    if unit == "mg" and amount.unit == "g":
        return Amount(value=amount.value * 1000, unit="mg", text=amount.text, where=tree.where)
    if amount.unit != unit:
        raise tree.mistake(f"a dose is given in {unit} here, not {amount.unit!r}", f"write it in {unit}")
    return amount


def _target(tree: Tree) -> DoseTarget:
    parts = tree.fields(words.PLACES["target"], required=("per_kg",))
    return DoseTarget(
        per_kg=_amount(parts["per_kg"], "mg/kg/d").value,
        tolerance=_amount(parts["tolerance"], "mg/d").value if "tolerance" in parts else Fraction(0),
        at_most=_amount(parts["at_most"], "mg/d").value if "at_most" in parts else None,
        where=tree.where,
    )


def read_dose_change(fields: Fields, tree: Tree, scope: Scope) -> DoseChanged:
    parts = fields["dose_change"].fields(words.PLACES["dose_change"])
    drugs, label = read_selected(parts, fields["dose_change"], scope)
    direction = parts["direction"].one_of(words.DIRECTIONS, "direction") if "direction" in parts else "any"
    return DoseChanged(
        drugs=drugs, label=label, direction=direction, period=read_period(parts, scope), where=tree.where
    )


def read_gap(fields: Fields, tree: Tree, scope: Scope) -> GapIs:
    parts = fields["gap"].fields(words.PLACES["gap"], required=("from",))
    drugs, label = read_selected(parts, fields["gap"], scope)
    found = [word for word in words.COMPARISONS if word in fields]
    if len(found) != 1:
        raise tree.mistake("gap: needs exactly one comparison", "for example above: 14 days")
    holds = []
    for item in parts["hold"].one_or_more() if "hold" in parts else []:
        hold = item.fields(words.PLACES["hold"], required=("ladder", "state"))
        holds.append(read_ladder(hold, item, scope))
    return GapIs(
        drugs=drugs,
        label=label,
        period=read_period(parts, scope),
        comparison=found[0],
        days=read_days(fields[found[0]]),
        holds=tuple(holds),
        where=tree.where,
    )


def read_ladder(fields: Fields, tree: Tree, scope: Scope) -> LadderIs:
    """Ladders live in a file of their own, read after this one: their names are checked there."""
    if "state" not in fields:
        raise tree.mistake("ladder: without state:")
    states = tuple(item.text() for item in fields["state"].one_or_more())
    return LadderIs(ladder=fields["ladder"].text(), states=states, where=tree.where)


def read_arm(fields: Fields, tree: Tree, scope: Scope) -> ArmIs:
    arms = tuple(item.one_of(scope.arms, "arm") for item in fields["arm"].one_or_more())
    return ArmIs(arms=arms, where=tree.where)


def read_eligibility(fields: Fields, tree: Tree, scope: Scope) -> EligibilityIs:
    if "at" not in fields:
        raise tree.mistake("eligibility: without at:", "for example at: screening - 1 day")
    overall = Overall(fields["eligibility"].one_of(words.OVERALLS, "overall verdict"))
    return EligibilityIs(overall=overall, at=read_moment(fields["at"], scope), where=tree.where)


def read_drugs(tree: Tree, scope: Scope) -> tuple[tuple[str, ...], str]:
    drugs = scope.vocabulary.drugs
    names = tuple(item.one_of(tuple(drugs), "drug") for item in tree.one_or_more())
    return names, " or ".join(drugs[name].label or name for name in names)


def read_selected(parts: Fields, tree: Tree, scope: Scope) -> tuple[tuple[str, ...], str]:
    """The drugs of exactly one of ``drug:``, ``role:`` and ``class:``, and what to call them."""
    chosen = [word for word in words.SELECTORS if word in parts]
    if len(chosen) != 1:
        raise tree.mistake("name exactly one of drug:, role: or class:")
    [by] = chosen
    if by == "drug":
        return read_drugs(parts[by], scope)
    known = scope.vocabulary.roles() if by == "role" else scope.vocabulary.classes()
    names = {item.one_of(known, by) for item in parts[by].one_or_more()}
    drugs = tuple(
        key
        for key, drug in sorted(scope.vocabulary.drugs.items())
        if names & ({drug.role} if by == "role" else {*drug.classes})
    )
    return drugs, f"drugs of {by} {' or '.join(sorted(names))}"


def read_timed(tree: Tree, scope: Scope) -> Timed:
    """``timed: {after: tacrolimus, between: [11 hours, 13 hours], ..}`` beside a finding."""
    fields = tree.fields(words.PLACES["timed"], required=("after", "between"))
    drugs, _ = read_drugs(fields["after"], scope)
    low, high = _hours(fields["between"])
    wide_low, wide_high = _hours(fields["approximately"]) if "approximately" in fields else (low, high)
    known = scope.vocabulary.of_kind("finding")
    named = fields["named"].one_or_more() if "named" in fields else []
    return Timed(
        drugs=drugs,
        low=low,
        high=high,
        wide_low=min(low, wide_low),
        wide_high=max(high, wide_high),
        look_back=read_hours(fields["look_back"]) if "look_back" in fields else Fraction(24),
        named=tuple(item.one_of(known, "finding concept") for item in named),
        steady_days=read_days(fields["steady"]) if "steady" in fields else 0,
        where=tree.where,
    )


def _hours(tree: Tree) -> tuple[Fraction, Fraction]:
    ends = tree.items()
    if len(ends) != 2:
        raise tree.mistake("two times are needed here", "for example [11 hours, 13 hours]")
    return read_hours(ends[0]), read_hours(ends[1])
