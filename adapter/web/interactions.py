"""What every route for machines shares: the time, and refusals that say why in FHIR's own form.

Source: https://hl7.org/fhir/R4/operationoutcome.html.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from adapter.writeback.resources import Json

Clock = Callable[[], datetime]


class Refused(Exception):
    """An answer other than success: HTTP status, FHIR issue code, and words that quote no content."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.outcome: Json = {
            "resourceType": "OperationOutcome",
            "issue": [{"severity": "error", "code": code, "diagnostics": text}],
        }
