"""ResearchStudy and Device: what the trial is, and which software speaks.

Source: https://hl7.org/fhir/R4/researchstudy.html, https://hl7.org/fhir/R4/device.html.
"""

from __future__ import annotations

import msgspec

from adapter.writeback.identity import CLINICAL_TRIALS_GOV, client_id, identifier, profile_url
from adapter.writeback.resources import Json, validated

SOFTWARE = "trial-fhir-adapter"


class StudyArm(msgspec.Struct, frozen=True):
    code: str
    title: str


class StudyReference(msgspec.Struct, frozen=True):
    """The trial as the protocol names it; ``id`` is its registry number (``NCT03864250``)."""

    id: str
    title: str
    arms: tuple[StudyArm, ...] = ()
    system: str = CLINICAL_TRIALS_GOV

    @property
    def own_reference(self) -> str:
        """The ResearchStudy we create where the server has none with the trial's number."""
        return f"ResearchStudy/{client_id('study', self.id)}"


def research_study(study: StudyReference) -> Json:
    """R4 has no status for "screening has begun"; ``active`` is "open for accrual"."""
    resource: Json = {
        "resourceType": "ResearchStudy",
        "id": client_id("study", study.id),
        "meta": {"profile": [profile_url("TrialResearchStudy")]},
        "identifier": [{"system": study.system, "value": study.id}],
        "title": study.title,
        "status": "active",
    }
    if study.arms:
        resource["arm"] = [
            {"name": arm.title, "type": {"coding": [{"code": arm.code}], "text": arm.code}}
            for arm in study.arms
        ]
    return validated(resource, "TrialResearchStudy")


def device(version: str) -> Json:
    """This software in this version; a new version is a new Device, so old Provenance stays true."""
    key = client_id("device", SOFTWARE, version)
    return validated(
        {
            "resourceType": "Device",
            "id": key,
            "identifier": [identifier("device", key)],
            "status": "active",
            "deviceName": [{"name": SOFTWARE, "type": "model-name"}],
            "version": [{"value": version}],
        }
    )
