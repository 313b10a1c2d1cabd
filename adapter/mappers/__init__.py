"""Resources in, facts out: one mapper per resource type, and what settles versions, merges and units.

``map_resources`` reads twice. The first pass collects what others refer to (Patient, Medication,
Specimen); the second maps each resource by the table ``MAPPERS``. Then versions, duplicates and conflicts
are settled, values are derived, and everything is sorted, so that the order of arrival never shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from types import MappingProxyType
from typing import TYPE_CHECKING

from adapter.mappers import r4
from adapter.mappers.clinical.adverse_event import AdverseEvent, map_adverse_event
from adapter.mappers.clinical.allergy_intolerance import AllergyIntolerance, map_allergy_intolerance
from adapter.mappers.clinical.condition import Condition, map_condition
from adapter.mappers.clinical.procedure import Procedure, map_procedure
from adapter.mappers.context import Mapper
from adapter.mappers.medications.immunization import Immunization, map_immunization
from adapter.mappers.medications.medication_administration import (
    MedicationAdministration,
    map_medication_administration,
)
from adapter.mappers.medications.medication_dispense import MedicationDispense, map_medication_dispense
from adapter.mappers.medications.medication_request import MedicationRequest, map_medication_request
from adapter.mappers.medications.medication_statement import MedicationStatement, map_medication_statement
from adapter.mappers.people.consent import Consent, map_consent
from adapter.mappers.people.encounter import Encounter, map_encounter
from adapter.mappers.people.patient import map_patient
from adapter.mappers.people.research_subject import (
    ResearchStudy,
    ResearchSubject,
    map_research_study,
    map_research_subject,
)
from adapter.mappers.results.diagnostic_report import map_diagnostic_report
from adapter.mappers.results.observation import map_observation
from adapter.mappers.results.questionnaire_response import QuestionnaireResponse, map_questionnaire_response
from adapter.mappers.results.specimen import map_specimen
from adapter.mappers.run import run
from adapter.model.coverage import Coverage
from adapter.model.facts import Facts
from adapter.model.resource import RawResource

if TYPE_CHECKING:
    from adapter.mappers.terminology import Terminology

MAPPERS: Mapping[str, Mapper] = MappingProxyType(
    {
        "AdverseEvent": Mapper(AdverseEvent, map_adverse_event),
        "AllergyIntolerance": Mapper(AllergyIntolerance, map_allergy_intolerance),
        "Condition": Mapper(Condition, map_condition),
        "Consent": Mapper(Consent, map_consent),
        "DiagnosticReport": Mapper(r4.DiagnosticReport, map_diagnostic_report),
        "Encounter": Mapper(Encounter, map_encounter),
        "Immunization": Mapper(Immunization, map_immunization),
        "MedicationAdministration": Mapper(MedicationAdministration, map_medication_administration),
        "MedicationDispense": Mapper(MedicationDispense, map_medication_dispense),
        "MedicationRequest": Mapper(MedicationRequest, map_medication_request),
        "MedicationStatement": Mapper(MedicationStatement, map_medication_statement),
        "Observation": Mapper(r4.Observation, map_observation),
        "Patient": Mapper(r4.Patient, map_patient),
        "Procedure": Mapper(Procedure, map_procedure),
        "QuestionnaireResponse": Mapper(QuestionnaireResponse, map_questionnaire_response),
        "ResearchStudy": Mapper(ResearchStudy, map_research_study),
        "ResearchSubject": Mapper(ResearchSubject, map_research_subject),
        "Specimen": Mapper(r4.Specimen, map_specimen),
    }
)


def map_resources(
    resources: Iterable[RawResource],
    *,
    terminology: Terminology,
    zone: tzinfo,
    coverage: Iterable[Coverage] = (),
    options: Mapping[str, bool] = MappingProxyType({}),
) -> Facts:
    """Everything a set of resources says, in canonical order, with its issues and accounts.

    ``zone`` is the site's time zone. Never raises on data: what cannot be read is an issue, and every
    resource is counted once (``Facts.accounts``).
    """
    return run(resources, MAPPERS, terminology=terminology, zone=zone, coverage=coverage, options=options)
