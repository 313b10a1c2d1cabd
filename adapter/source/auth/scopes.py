"""What a hospital's authorisation server lets us read and write, by SMART scopes of both versions.

>>> Scopes.parse("system/Patient.read system/Observation.rs system/Flag.cruds launch").reads("Observation")
True

Source: SMART App Launch 2.2, "Scopes for requesting FHIR resources" (v2: letters of cruds, in order) and 1.0
(v1: read, write, \\*); a v2 scope with a query grants a part of a type, which is not the type.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec

_SCOPE = re.compile(r"system/(?P<type>\*|[A-Z][A-Za-z]+)\.(?P<what>read|write|\*|c?r?u?d?s?)(?P<part>\?.+)?")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


class Scopes(msgspec.Struct, frozen=True):
    """Scopes as the server wrote them; only those at system level count for a backend service."""

    written: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(tuple(text.split()))

    def allow(self, resource_type: str, letters: str) -> bool:
        """Whether every interaction of ``letters`` (out of c, r, u, d, s) is granted for the whole type."""
        granted: set[str] = set()
        for scope in self.written:
            found = _SCOPE.fullmatch(scope)
            if found and found["type"] in ("*", resource_type) and not found["part"]:
                granted |= set(_V1.get(found["what"], found["what"]))
        return set(letters) <= granted

    def reads(self, resource_type: str) -> bool:
        """Whether all resources of the type may be read and searched."""
        return self.allow(resource_type, "rs")

    def in_part(self, resource_type: str) -> bool:
        """Whether some, but not all, of the type may be read (a v2 scope with a query)."""
        parts = (_SCOPE.fullmatch(scope) for scope in self.written)
        some = any(one and one["part"] and one["type"] in ("*", resource_type) for one in parts)
        return some and not self.reads(resource_type)
