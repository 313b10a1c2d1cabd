"""Resources in, facts out: one mapper per resource type, and what settles versions, merges and units.

``map_resources`` reads twice. The first pass collects what others refer to (Patient, Medication,
Specimen); the second maps each resource by the table ``MAPPERS``. Then versions, duplicates and conflicts
are settled, values are derived, and everything is sorted, so that the order of arrival never shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.mappers import r4
from adapter.mappers.adverse_event import AdverseEvent, map_adverse_event
from adapter.mappers.condition import Condition, map_condition
from adapter.mappers.consent import Consent, map_consent
from adapter.mappers.context import Mapper
from adapter.mappers.encounter import Encounter, map_encounter
from adapter.mappers.medication_administration import MedicationAdministration, map_medication_administration
from adapter.mappers.medication_dispense import MedicationDispense, map_medication_dispense
from adapter.mappers.medication_request import MedicationRequest, map_medication_request
from adapter.mappers.medication_statement import MedicationStatement, map_medication_statement
from adapter.mappers.patient import map_patient
from adapter.mappers.research_subject import (
    ResearchStudy,
    ResearchSubject,
    map_research_study,
    map_research_subject,
)

MAPPERS: Mapping[str, Mapper] = MappingProxyType(
    {
        "AdverseEvent": Mapper(AdverseEvent, map_adverse_event),
        "Condition": Mapper(Condition, map_condition),
        "Consent": Mapper(Consent, map_consent),
        "Encounter": Mapper(Encounter, map_encounter),
        "MedicationAdministration": Mapper(MedicationAdministration, map_medication_administration),
        "MedicationDispense": Mapper(MedicationDispense, map_medication_dispense),
        "MedicationRequest": Mapper(MedicationRequest, map_medication_request),
        "MedicationStatement": Mapper(MedicationStatement, map_medication_statement),
        "Patient": Mapper(r4.Patient, map_patient),
        "ResearchStudy": Mapper(ResearchStudy, map_research_study),
        "ResearchSubject": Mapper(ResearchSubject, map_research_subject),
    }
)
