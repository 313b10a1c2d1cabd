"""Bad data as a value: named, counted, shown, and never the end of a run."""

from __future__ import annotations

from typing import Literal

import msgspec

Severity = Literal["error", "warning", "information"]


class Issue(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wrong with, or was done to, one resource.

    ``code`` is a name from GLOSSARY.md (``MALFORMED_JSON``, ``UNMAPPED_CODE``, ``UNIT_REPAIRED`` ...);
    ``reference`` is ``Type/id`` or ``file:line`` where there is no id; ``path`` the FHIRPath element.
    ``detail`` says what was found using codes, units and shapes only: never names, identifiers or
    free text of a person. ``fatal_for_resource`` marks the issue that kept it from becoming facts.
    """

    code: str
    severity: Severity
    resource_type: str
    reference: str
    path: str = ""
    detail: str = ""
    subject: str = ""
    fatal_for_resource: bool = False
