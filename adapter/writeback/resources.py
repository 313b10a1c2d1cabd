"""Plain FHIR JSON: exact numbers in and out, content hashes, and validation before anything is sent.

What is sent is the JSON that was built or read, not a model's dump: ``fhir.resources`` loses trailing zeros
and long fractions, and what a hospital wrote into a resource must survive our touching one extension of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from adapter.config import product_folder
from adapter.errors import ExportError
from adapter.writeback.profile import Profiles

Json = dict[str, Any]

_ENCODER = msgspec.json.Encoder(decimal_format="number", order="sorted")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_SERVER_OWNED = frozenset({"meta", "text"})


def encode(resource: Json) -> bytes:
    """Canonical bytes: sorted keys, numbers as they were read."""
    return _ENCODER.encode(resource)


def decode(body: bytes) -> Any:
    """Raises ``msgspec.DecodeError`` on anything that is not JSON."""
    return _DECODER.decode(body)


def content_sha256(resource: Json) -> str:
    """A hash of what people and we wrote, without what servers add (meta, generated narrative)."""
    own = {key: value for key, value in resource.items() if key not in _SERVER_OWNED}
    return hashlib.sha256(encode(own)).hexdigest()


def reference_of(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def validated(resource: Json, profile: str = "") -> Json:
    """The resource itself, after R4B's models and, if one is named, our profile accepted it.

    Raises :class:`ExportError` that names elements and rules but repeats no content.
    """
    faults = r4_faults(resource)
    if not faults and profile:
        faults = [f"{f.path}: {f.code}, {f.detail}" for f in _profiles().check(resource, profile)]
    if faults:
        raise ExportError(
            f"{resource.get('resourceType', 'resource')} would not be valid: {'; '.join(faults)}",
            where=profile or "FHIR R4",
            fix="this is a defect of the adapter unless the resource was changed on the server",
        )
    return resource


def r4_faults(resource: Json) -> list[str]:
    """What R4B's model says against a resource: element and rule, never the value. Every HL7 example of R4
    4.0.1 of the types we write validates as R4B, so these models serve for R4."""
    from fhir.resources.R4B import get_fhir_model_class  # slow to import; not needed to read a plan
    from pydantic import ValidationError

    if nulls := list(_nulls(resource, "")):
        return nulls  # the models take null for "absent", even for what is required
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError as refusal:
        errors = refusal.errors(include_input=False, include_url=False, include_context=False)
        return [f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in errors]
    except KeyError:
        return ["resourceType: unknown"]
    return []


def _nulls(value: Any, path: str) -> Iterator[str]:
    """JSON properties that are null; FHIR allows null only within arrays (https://hl7.org/fhir/R4/json.html)."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if inner is None:
                yield f"{path}{name}: null"
            yield from _nulls(inner, f"{path}{name}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _nulls(inner, f"{path}{number}.")


@lru_cache(maxsize=1)
def _profiles() -> Profiles:
    return Profiles(product_folder("fhir_profiles"))
