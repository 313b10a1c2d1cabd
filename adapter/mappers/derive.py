"""Values that follow from other values. (Filled in by protein.py and filtration.py.)"""

from __future__ import annotations

from collections.abc import Iterable

from adapter.mappers.context import Context
from adapter.model.facts import Finding


def derive(findings: Iterable[Finding], context: Context) -> tuple[Finding, ...]:
    return tuple(findings)
