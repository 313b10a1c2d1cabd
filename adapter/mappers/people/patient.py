"""Patient: sex, birth, death, and nothing that says who it is.

Each record gives one row under its survivor's id; :func:`adapter.mappers.identity.fold` makes one row per
person of them. Source: https://hl7.org/fhir/R4/patient.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from adapter.mappers import r4
from adapter.mappers.context import Context, Mapped, issue, refused, source_of
from adapter.model.facts import Subject
from adapter.model.issue import Issue
from adapter.model.resource import RawResource

Sex = Literal["male", "female", "other", "unknown"]

_GENDERS: Mapping[str, Sex] = MappingProxyType(
    {"male": "male", "female": "female", "other": "other", "unknown": "unknown"}
)
_CLINICAL_SEX: Mapping[str, Sex] = MappingProxyType(
    {
        "male": "male",
        "female": "female",
        "male-typical": "male",
        "female-typical": "female",
        "M": "male",
        "F": "female",
    }
)
_CLINICAL_SEX_EXTENSIONS = (
    "http://hl7.org/fhir/StructureDefinition/patient-sexParameterForClinicalUse",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex",
    "http://hl7.org/fhir/StructureDefinition/patient-birthSex",
)


def map_patient(resource: r4.Patient, raw: RawResource, context: Context) -> Mapped:
    """One Subject row under the survivor's id; what cannot be read is left out and reported."""
    if not resource.id:
        return refused("NO_ID", resource, raw, path="Patient.id", detail="a patient without id names nobody")
    person = context.index.survivors.get(resource.id, resource.id)
    issues: list[Issue] = []
    flags: set[str] = set()

    birth = context.date(resource.birthDate)
    if resource.birthDate and birth is None:
        flags.add("BIRTH_UNREADABLE")
        issues.append(issue("BAD_DATE", resource, raw, path="Patient.birthDate", subject=person))
    death = context.date(resource.deceasedDateTime)
    if resource.deceasedDateTime and death is None:
        issues.append(issue("BAD_DATE", resource, raw, path="Patient.deceasedDateTime", subject=person))

    sex = _GENDERS.get((resource.gender or "unknown").lower(), "unknown")
    if resource.gender and resource.gender.lower() not in _GENDERS:
        issues.append(issue("BAD_CODE", resource, raw, path="Patient.gender", subject=person))
    clinical = {found for one in resource.extension for found in _clinical_sex(one)}
    if sex == "unknown" and len(clinical) == 1:
        sex = clinical.pop()
    elif clinical - {sex}:
        flags.add("SEX_DISCORDANT")
        detail = "gender and sex for clinical use differ; read as unknown"
        issues.append(
            issue("SEX_DISCORDANT", resource, raw, path="Patient.extension", detail=detail, subject=person)
        )
        sex = "unknown"
    if resource.active is False and person == resource.id:
        flags.add("INACTIVE_RECORD")
    return Mapped(
        subjects=(
            Subject(
                id=person,
                source=source_of(resource, raw),
                sex=sex,
                birth=birth,
                deceased=bool(resource.deceasedBoolean) or bool(resource.deceasedDateTime),
                death=death,
                merged=(resource.id,) if person != resource.id else (),
                flags=tuple(sorted(flags)),
            ),
        ),
        issues=tuple(issues),
    )


def _clinical_sex(extension: r4.Extension) -> Iterator[Sex]:
    """The sex a clinical-use extension states, at any depth of it."""
    if extension.url not in _CLINICAL_SEX_EXTENSIONS:
        return
    for part in (extension, *extension.extension):
        coded = part.valueCodeableConcept.coding if part.valueCodeableConcept else ()
        one = (part.valueCoding,) if part.valueCoding else ()
        for code in (part.valueCode, *(coding.code for coding in (*coded, *one))):
            if code in _CLINICAL_SEX:
                yield _CLINICAL_SEX[code]
