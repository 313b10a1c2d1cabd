"""Which drug a medication record is about, and whether it acted on the whole body.

The drug may be coded in the record, in a Medication that is contained or referred to, or only in its
ingredients (https://hl7.org/fhir/R4/medication.html). ``他克莫司软膏`` is tacrolimus and is not systemic
(E-40): an explicit route decides, then the dosage form, then the words of the name, then the ATC group. Drugs
that no table knows are kept with concept "", because a list of concomitant medication must be complete.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, shape_of, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.medications import dosage
from adapter.mappers.remembered import remembered_as_sent
from adapter.model.facts import Coding, Intervention
from adapter.model.resource import RawResource
from adapter.model.terminology import DrugEntry, DrugMatch, RouteEntry

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

# ATC groups that are by definition for systemic use: H02 corticosteroids, L01 and L04
_SYSTEMIC_ATC = ("H02", "L01", "L04")
_TOPICAL_CLASS = "topical_or_inhaled"


class MedicationRecord(r4.Resource, frozen=True, kw_only=True):
    """What the four resource types that tell of a drug share."""

    status: str | None = None
    medicationCodeableConcept: r4.CodeableConcept | None = None
    medicationReference: r4.Reference | None = None
    subject: r4.Reference | None = None
    reasonCode: tuple[r4.CodeableConcept, ...] = ()


class Product(NamedTuple):
    """One substance in a medication; ``match`` is None if no table knows it."""

    match: DrugMatch | None
    coding: Coding


class Named(NamedTuple):
    """A medication as it is named: its substances, its form, all its words, and the strength of one unit."""

    products: tuple[Product, ...]
    form: r4.CodeableConcept | None = None
    words: str = ""
    strength: r4.Ratio | None = None
    resolved: bool = True


class Systemic(NamedTuple):
    """``value`` is None if it is not known or a person has to decide (ROUTE_REVIEW, ROUTE_CONFLICT)."""

    value: bool | None
    route: str = ""
    flag: str = ""


def named(record: MedicationRecord, context: Context) -> Named | None:
    """The medication of a record; None if the record names none at all."""
    concept = record.medicationCodeableConcept
    medication: r4.Medication | None = None
    if concept is None and record.medicationReference is not None:
        medication = context.index.medication(record.medicationReference, record.contained)
        if medication is None:
            return Named((Product(None, Coding()),), resolved=False)
        concept = medication.code
    ingredients = medication.ingredient if medication else ()
    active = [one for one in ingredients if one.isActive is not False]
    products = _products(concept, active, record, context)
    if not products:
        return None
    words = " ".join(dict.fromkeys(word for word in _words(concept) if word))
    strength = active[0].strength if len(active) == 1 else None
    return Named(products, medication.form if medication else None, words, strength)


def _products(
    concept: r4.CodeableConcept | None,
    active: Iterable[r4.MedicationIngredient],
    record: MedicationRecord,
    context: Context,
) -> tuple[Product, ...]:
    """By the product's own code; if no table knows that, by its ingredients; else the code as it is."""
    own = product_of(concept, context)
    if own and own[0].match is not None:
        return own
    found: dict[str, Product] = {}
    for one in active:
        inner = context.index.medication(one.itemReference, record.contained)
        for product in product_of(one.itemCodeableConcept or (inner.code if inner else None), context):
            if product.match is not None:
                found.setdefault(product.match.entry.substance, product)
            elif not own:
                own = (product,)
    return tuple(found[key] for key in sorted(found)) or own


def product_of(concept: r4.CodeableConcept | None, context: Context) -> tuple[Product, ...]:
    """The substances one concept names: usually one, several for a combination, none for an empty concept."""
    return _named_by(concept, context.terminology) if concept is not None else ()


@remembered_as_sent
def _named_by(concept: r4.CodeableConcept, terminology: Terminology) -> tuple[Product, ...]:
    codings = codings_of(concept)
    if not codings:
        return ()
    match = terminology.drug_for(codings, concept.text or "")
    if match is None:
        return (Product(None, codings[0]),)
    coding = next((one for one in codings if one.code == match.matched), codings[0])
    others = [terminology.drug(key) for key in match.also]
    return (
        Product(match, coding),
        *(Product(_beside(match, entry), coding) for entry in others if entry is not None),
    )


def _beside(match: DrugMatch, entry: DrugEntry) -> DrugMatch:
    return msgspec.structs.replace(
        match, entry=entry, also=(), conflict=(), where=entry.where, flags=("COMBINATION",)
    )


def _words(concept: r4.CodeableConcept | None) -> list[str]:
    return [concept.text or "", *(one.display or "" for one in concept.coding)] if concept else []


def systemic(
    named: Named, match: DrugMatch | None, route: r4.CodeableConcept | None, context: Context
) -> Systemic:
    """Whether the drug acts on the whole body, from the most explicit statement there is."""
    explicit = _route(route, "", context.terminology)
    implied = _route(named.form, named.words, context.terminology)
    topical = match is not None and _TOPICAL_CLASS in match.entry.classes
    topical = topical or (implied is not None and implied.effect == "topical")
    if explicit is not None and explicit.effect == "systemic" and topical:
        return Systemic(None, explicit.route, "ROUTE_CONFLICT")
    decisive = explicit or implied
    if topical and (decisive is None or decisive.effect != "topical"):
        return Systemic(False, decisive.route if decisive else "")
    if decisive is not None:
        return _by_route(decisive)
    if match is not None and match.matched_by == "atc" and match.matched.startswith(_SYSTEMIC_ATC):
        return Systemic(True)
    return Systemic(None, "", "ROUTE_MISSING")


@remembered_as_sent
def _route(concept: r4.CodeableConcept | None, otherwise: str, terminology: Terminology) -> RouteEntry | None:
    """By a route or form, its words included; if that tells nothing, by the words of the name."""
    found = terminology.route_for(codings_of(concept), r4.display(concept))
    return found or terminology.route_for((), otherwise)


def _by_route(route: RouteEntry) -> Systemic:
    if route.effect == "local_review":
        return Systemic(None, route.route, "ROUTE_REVIEW")
    return Systemic(route.effect == "systemic", route.route)


def told(
    record: MedicationRecord,
    raw: RawResource,
    context: Context,
    dosages: tuple[r4.Dosage, ...],
    base: Intervention,
    regimen: dosage.Regimen,
) -> Mapped:
    """One row per substance from what the record says of all of them (``base``), with issues.

    The dose of a combination is not the dose of a substance in it: it is left out there.
    """
    kind = record.resourceType
    medication = named(record, context)
    if medication is None:
        return refused("NO_MEDICATION", record, raw, path=f"{kind}.medication[x]", subject=base.subject)
    route = next((one.route for one in dosages if one.route), None)
    dose, daily = (dosage.in_mg(one, medication.strength) for one in (regimen.dose, regimen.daily))
    single = len(medication.products) == 1
    rows = []
    for product in medication.products:
        match = product.match
        acts = systemic(medication, match, route, context)
        flags = [*base.flags, *regimen.flags, acts.flag]
        flags += (
            list(match.flags)
            if match
            else ["UNMAPPED_CODE" if medication.resolved else "MEDICATION_UNRESOLVED"]
        )
        flags += ["CONFLICT"] if match and match.conflict else []
        rows.append(
            msgspec.structs.replace(
                base,
                concept=match.entry.drug if match else "",
                source=source_of(record, raw),
                code=product.coding,
                classes=match.entry.classes if match else (),
                role=match.entry.role if match else "",
                use=match.use if match else "AUTO",
                systemic=acts.value,
                route=acts.route or r4.first_code(route) or r4.display(route),
                form=r4.display(medication.form),
                dose=dose.value if dose and single else None,
                dose_unit=dose.unit if dose and single else "",
                daily_dose=daily.value if daily and single else None,
                frequency=regimen.frequency,
                indication=next((text for one in record.reasonCode if (text := r4.display(one))), ""),
                flags=flags_of(*flags, dates=(base.start, base.end, base.recorded)),
            )
        )
    issues = []
    if not medication.resolved:
        path = f"{kind}.medicationReference"
        issues.append(issue("MEDICATION_UNRESOLVED", record, raw, path=path, subject=base.subject))
    if regimen.unparsed:
        shape = shape_of(next((one.text for one in dosages if one.text), ""))
        issues.append(
            issue("DOSAGE_UNPARSED", record, raw, path=f"{kind}.dosage", detail=shape, subject=base.subject)
        )
    return Mapped(interventions=tuple(rows), issues=tuple(issues))
