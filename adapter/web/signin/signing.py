"""Electronic signatures: who signed which content, when, meaning what, after proving who they are once more.

A signature is bound to the SHA-256 of the record signed, and stands in the audit's chain: it cannot be taken
off, nor put on another record, without the chain showing it. Source: 21 CFR 11.50 (printed name, time,
meaning), 11.70 (linked to its record), 11.200 (two components; at least one at every further signing).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from fastapi import Request

from adapter.access import Principal
from adapter.web.access import Denied, premises

MEANINGS = ("authorship", "review", "approval", "responsibility", "rejection")


class Signature(msgspec.Struct, frozen=True):
    """``record`` names what was signed (``outbox/12``), ``record_sha256`` its content as it was shown;
    ``at`` is UTC, ``how`` what the signer proved again: ``password`` or ``openid``."""

    account: str
    name: str
    meaning: str
    at: datetime
    record: str
    record_sha256: str
    how: str

    def detail(self) -> dict[str, Any]:
        """For the audit's row about what was signed."""
        return {"signature": {**msgspec.structs.asdict(self), "at": self.at.isoformat()}}


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def sign(
    request: Request, principal: Principal, *, record: str, record_sha256: str, meaning: str
) -> Signature:
    """The signature, if the form (``signin/signature.html``) brings what proves its signer once more.

    Field ``signature-record`` is the hash of what was on the page: another one means that it changed since.
    Raises :class:`Denied`: 403 not proven, 409 the record is another than was shown, 422 an unknown meaning.
    """
    if meaning not in MEANINGS:
        raise Denied(422, "a signature needs its meaning")
    here = premises(request)
    if (await request.form(max_files=0)).get("signature-record") != record_sha256:
        raise Denied(409, "what you were shown has changed; look at it again")
    if not await here.gate.proves(request, principal, record_sha256):
        raise Denied(403, "nothing was signed: who signs has to prove once more who they are")
    return Signature(
        account=principal.account,
        name=principal.name or principal.account,
        meaning=meaning,
        at=here.clock(),
        record=record,
        record_sha256=record_sha256,
        how=principal.how,
    )
