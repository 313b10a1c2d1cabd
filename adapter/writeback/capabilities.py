"""What a server says it takes, read from its CapabilityStatement; what it does is found out by trying.

Source: https://hl7.org/fhir/R4/capabilitystatement.html.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from adapter.writeback.resources import Json


class TypeCapability(msgspec.Struct, frozen=True):
    """One resource type: interactions by their FHIR code, search parameters by name. ``client_ids`` is
    ``updateCreate``: an update may create under an id of ours (None if the server does not say)."""

    interactions: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    client_ids: bool | None = None

    def can(self, *interactions: str) -> bool:
        return self.interactions >= set(interactions)


class Capabilities(msgspec.Struct, frozen=True):
    """``transactions`` says whether several resources can be written as one whole."""

    types: Mapping[str, TypeCapability] = {}
    transactions: bool = False
    software: str = ""

    def of(self, resource_type: str) -> TypeCapability:
        return self.types.get(resource_type, TypeCapability())


def capabilities_of(statement: Json) -> Capabilities:
    """Reads the server part of a statement; whatever has another shape than FHIR's counts as not said."""
    rest = next((one for one in _dicts(statement.get("rest")) if one.get("mode") == "server"), {})
    types = {str(one.get("type", "")): _type(one) for one in _dicts(rest.get("resource"))}
    whole = {str(one.get("code", "")) for one in _dicts(rest.get("interaction"))}
    software = statement.get("software")
    name = str(software.get("name", "")) if isinstance(software, dict) else ""
    return Capabilities(types, "transaction" in whole, name)


def _type(one: Json) -> TypeCapability:
    said = one.get("updateCreate")
    return TypeCapability(
        frozenset(str(each.get("code", "")) for each in _dicts(one.get("interaction"))),
        frozenset(str(each.get("name", "")) for each in _dicts(one.get("searchParam"))),
        said if isinstance(said, bool) else None,
    )


def _dicts(value: object) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
