"""AllergyIntolerance: allergies, and the statement that there are none.

Source: https://hl7.org/fhir/R4/allergyintolerance.html. "No known allergy" is a code of its own
(716186003, 409137002): without any record the answer is unknown. An intolerance (tremor, for instance) is
not an allergy; ``type`` keeps them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from adapter.mappers import r4
from adapter.mappers.clinical.diagnoses import Presence, Reading
from adapter.mappers.clinical.onset import Choice, birth_of, moment
from adapter.mappers.context import Context, Mapped, codings_of, issue, refused, shape_of, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.medications.medication import Product, product_of
from adapter.model.facts import Coding, Event, Use
from adapter.model.resource import RawResource

_CLINICAL: Mapping[str, Presence] = MappingProxyType(
    {"active": "present", "inactive": "past", "resolved": "past"}
)
_ABOUT_ALLERGY = ("no_known_allergy", "macrolide_allergy", "drug_allergy_status")
_UNCERTAIN = "uncertain"


class Reaction(r4.Element, frozen=True, kw_only=True):
    substance: r4.CodeableConcept | None = None


class AllergyIntolerance(r4.Resource, frozen=True, kw_only=True):
    clinicalStatus: r4.CodeableConcept | str | None = None
    verificationStatus: r4.CodeableConcept | str | None = None
    type: str | None = None
    category: tuple[str, ...] = ()
    criticality: str | None = None
    code: r4.CodeableConcept | None = None
    patient: r4.Reference | None = None
    onsetDateTime: str | None = None
    onsetAge: r4.Quantity | None = None
    onsetPeriod: r4.Period | None = None
    onsetRange: r4.Range | None = None
    onsetString: str | None = None
    recordedDate: str | None = None
    reaction: tuple[Reaction, ...] = ()


def map_allergy_intolerance(resource: AllergyIntolerance, raw: RawResource, context: Context) -> Mapped:
    """One event per substance: a drug key, ``no_known_allergy``, another concept about allergies, or "".

    Attributes: type (allergy or intolerance), criticality, clinical, verification, category, substance (of a
    form such as an ointment), classes and role of the drug.
    """
    subject = context.subject(resource.patient)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="AllergyIntolerance.patient")
    substances = _substances(resource, context)
    if not substances:
        return refused("NO_CODE", resource, raw, path="AllergyIntolerance.code", subject=subject)
    onset = moment(
        Choice(
            resource.onsetDateTime,
            resource.onsetPeriod,
            resource.onsetAge,
            resource.onsetRange,
            resource.onsetString,
        ),
        context,
        birth_of(subject, context),
    )
    clinical, verification = _status(resource.clinicalStatus), _status(resource.verificationStatus)
    recorded = context.date(resource.recordedDate)
    events = tuple(
        Event(
            subject=subject,
            concept=one.concept,
            source=source_of(resource, raw),
            category="allergy",
            code=one.coding,
            use=one.use,
            presence=_presence(resource, clinical, verification, context),
            start=onset.start,
            end=onset.end,
            recorded=recorded,
            status=clinical or verification,
            attributes=tuple(
                (name, value)
                for name, value in (
                    ("type", resource.type or ""),
                    ("criticality", resource.criticality or ""),
                    ("clinical", clinical),
                    ("verification", verification),
                    ("category", " ".join(resource.category)),
                    *one.attributes,
                )
                if value
            ),
            flags=flags_of(
                "" if clinical and verification else "STATUS_MISSING",
                "" if one.concept else "UNMAPPED_CODE",
                more=one.flags,
                dates=(onset.start, recorded),
            ),
            excluded="ENTERED_IN_ERROR" if "entered-in-error" in (clinical, verification) else "",
        )
        for one in substances
    )
    if not onset.problem:
        return Mapped(events=events)
    path = "AllergyIntolerance.onset[x]"
    detail = shape_of(resource.onsetString) if resource.onsetString else ""
    unread = issue(onset.problem, resource, raw, path=path, detail=detail, subject=subject)
    return Mapped(events=events, issues=(unread,))


class _Substance(NamedTuple):
    concept: str
    coding: Coding
    use: Use = "AUTO"
    attributes: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()


def _substances(resource: AllergyIntolerance, context: Context) -> list[_Substance]:
    """By the code; where that names nothing known, by the substances of the reactions; else as it is."""
    own = _about(resource.code, context)
    if any(one.concept for one in own):
        return own
    reactions = [one for each in resource.reaction for one in _about(each.substance, context)]
    known = {one.concept: one for one in reactions if one.concept}
    return [known[concept] for concept in sorted(known)] or own or reactions[:1]


def _about(concept: r4.CodeableConcept | None, context: Context) -> list[_Substance]:
    terminology = context.terminology
    codings = codings_of(concept)
    if concept is None or not codings:
        return []
    entries = [
        (entry, coding)
        for coding in codings
        for entry in terminology.concepts_for_coding(coding.system, coding.code, coding.display)
    ]
    entries += [(entry, codings[0]) for entry in terminology.concepts_for_text(r4.display(concept))]
    for entry, coding in entries:
        if entry.concept in _ABOUT_ALLERGY:
            return [_Substance(entry.concept, coding, Reading(entry, coding).use, (), entry.flags)]
    return [_drug(one) for one in product_of(concept, context)]


def _drug(product: Product) -> _Substance:
    match = product.match
    if match is None:
        return _Substance("", product.coding)
    attributes = (
        ("substance", match.entry.substance),
        ("classes", " ".join(match.entry.classes)),
        ("role", match.entry.role),
    )
    return _Substance(match.entry.drug, product.coding, match.use, attributes, match.flags)


def _presence(resource: AllergyIntolerance, clinical: str, verification: str, context: Context) -> Presence:
    if verification == "refuted":
        return "refuted"
    if verification in ("unconfirmed", "presumed") or _UNCERTAIN in _markers(resource, context):
        return "unconfirmed"
    return _CLINICAL.get(clinical, "present")


def _markers(resource: AllergyIntolerance, context: Context) -> Iterable[str]:
    """``他克莫司过敏?`` is a question; 否认 (denies) belongs to "no known allergy" and is not read here."""
    return context.terminology.markers_in(r4.display(resource.code))


def _status(status: r4.CodeableConcept | str | None) -> str:
    return (status if isinstance(status, str) else r4.first_code(status)).strip().lower()
