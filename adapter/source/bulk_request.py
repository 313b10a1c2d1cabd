"""What a bulk export is asked for, and how that is written in a kick-off request.

By GET the parameters stand in the query, by POST in a Parameters resource (the only form from version 4 of
the Bulk Data IG on). Source: Bulk Data Access IG 2.0.0 and its continuous build, "Bulk Data Kick-off".
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import httpx
import msgspec

from adapter.errors import ConfigError
from adapter.source.client import FhirClient

Level = Literal["system", "Patient", "Group"]
Method = Literal["GET", "POST"]
NDJSON = "application/fhir+ndjson"

# Types of R4 that no Patient compartment holds and that records refer to: an export of patients may leave
# them out, so that their absence proves nothing (https://hl7.org/fhir/R4/compartmentdefinition-patient.html).
OUTSIDE_COMPARTMENT = frozenset(
    {
        *("Device", "Location", "Medication", "Organization", "Practitioner", "PractitionerRole"),
        *("Questionnaire", "ResearchStudy", "Substance"),
    }
)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class ExportRequest(msgspec.Struct, frozen=True):
    """One export: everyone (``system``), all patients (``Patient``) or the members of ``group``.

    ``types`` become ``_type``; ``since`` is an instant with zone; ``type_filters`` are searches such as
    ``Observation?category=laboratory``, which a server may ignore.
    """

    types: tuple[str, ...]
    level: Level = "Patient"
    group: str = ""
    since: str = ""
    type_filters: tuple[str, ...] = ()
    output_format: str = NDJSON

    def checked(self) -> ExportRequest:
        """This request, types in order; raises ConfigError for an id, a type or an instant that is none."""
        wrong = ""
        if (self.level == "Group") != bool(self.group):
            wrong = "a group is exported by its id, and nothing else is"
        elif self.group and not _ID.fullmatch(self.group):
            wrong = "the id of the Group is no FHIR id"
        elif self.since and not _INSTANT.fullmatch(self.since):
            wrong = f"{self.since!r} is no instant"
        elif not self.types or not all(re.fullmatch("[A-Z][A-Za-z]{1,63}", name) for name in self.types):
            wrong = "no resource types, or one that is none"
        if wrong:
            raise ConfigError(wrong, where="bulk export", fix="--group ID, --since 2026-01-31T00:00:00+08:00")
        return msgspec.structs.replace(self, types=tuple(sorted(set(self.types))))

    @property
    def path(self) -> str:
        return {"system": "$export", "Patient": "Patient/$export"}.get(
            self.level, f"Group/{self.group}/$export"
        )

    @property
    def proven_by_silence(self) -> tuple[str, ...]:
        """Types of which no file means no data: those the level has to bring if there are any."""
        if self.level == "system":
            return self.types
        return tuple(name for name in self.types if name not in OUTSIDE_COMPARTMENT)

    def parameters(self) -> list[tuple[str, str]]:
        """Names and values as they are sent; ``_type`` is one list, each ``_typeFilter`` stands alone."""
        found = [("_outputFormat", self.output_format)] if self.output_format else []
        found += [("_since", self.since)] if self.since else []
        found += [("_type", ",".join(self.types))]
        return found + [("_typeFilter", text) for text in self.type_filters]

    def url(self, client: FhirClient, method: Method) -> httpx.URL:
        url = client.url(self.path)
        return url if method == "POST" else url.copy_with(params=httpx.QueryParams(tuple(self.parameters())))

    def body(self) -> bytes:
        """The Parameters resource of a POST: every type a parameter of its own, as version 4 wants it."""
        entries: list[dict[str, str]] = []
        for name, value in self.parameters():
            if name == "_type":
                entries += [{"name": name, "valueString": one} for one in self.types]
            else:
                entries.append({"name": name, _VALUE.get(name, "valueString"): value})
        return msgspec.json.encode({"resourceType": "Parameters", "parameter": entries})

    def fingerprint(self, base: httpx.URL) -> str:
        """The same for the same question to the same server: what a half-done job is recognised by."""
        return hashlib.sha256(str(base).encode() + msgspec.json.encode(self)).hexdigest()


_VALUE = {"_since": "valueInstant"}
