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
        "Patient": Mapper(r4.Patient, map_patient),
        "ResearchStudy": Mapper(ResearchStudy, map_research_study),
        "ResearchSubject": Mapper(ResearchSubject, map_research_subject),
    }
)
