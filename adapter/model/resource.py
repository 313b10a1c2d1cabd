"""One FHIR resource as it arrived: bytes first, meaning later."""

from __future__ import annotations

import hashlib

import msgspec

from adapter.model.kept import kept

OWN_ANSWER = "attested-"
"""How ids begin of QuestionnaireResponses answered on our own pages; no hospital's server holds them."""


class RawResource(msgspec.Struct, frozen=True, dict=True):
    """The exact JSON bytes of one resource (no line end) and where they were read.

    ``where`` is ``file:line`` for NDJSON or ``page:entry`` for REST. It never holds a URL with a query,
    which could carry personal data.
    """

    line: bytes
    where: str
    resource_type: str = ""

    @kept
    def sha256(self) -> str:
        return hashlib.sha256(self.line).hexdigest()
