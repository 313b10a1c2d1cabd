"""Electronic signatures: who signed which content, when, meaning what, after proving who they are once more.

A signature is bound to the SHA-256 of the record signed, and stands in the audit's chain: it cannot be taken
off, nor put on another record, without the chain showing it. Source: 21 CFR 11.50 (printed name, time,
meaning), 11.70 (linked to its record), 11.200 (two components; at least one at every further signing).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from fastapi import Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from adapter.access import Principal
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.web.access import Denied
from adapter.web.signin.desk import Desk, address_of

MEANINGS = ("authorship", "review", "approval", "responsibility", "rejection")
PROOF_LASTS = timedelta(minutes=5)


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

    def append(self, connection: Connection, **more: object) -> None:
        """A row ``sign`` of its own, in the caller's transaction; its last statement."""
        audit.append(
            connection, Entry(self.at, self.account, "sign", (self.record,), {**self.detail(), **more})
        )


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def sign(
    request: Request, desk: Desk, principal: Principal, *, record: str, record_sha256: str, meaning: str
) -> Signature:
    """The signature, if the form brings what proves its signer again: field ``signature-password``, or for
    who came by OpenID a sign-in of the last minutes for this very record (``/sign-in/again``), which counts
    once. Field ``signature-record`` is the hash of what was on the page: another one means that it changed
    since.
    Raises :class:`Denied`: 403 not proven, 409 the record is another than was shown, 422 an unknown meaning.
    """
    form = await request.form(max_files=0)
    if meaning not in MEANINGS:
        raise Denied(422, "a signature needs its meaning")
    if form.get("signature-record") != record_sha256:
        raise Denied(409, "what you were shown has changed; look at it again")
    proven = await run_in_threadpool(_is_proven, request, desk, principal, record_sha256, form)
    if not proven:
        raise Denied(403, "the signature was not made: who signs has to prove it again")
    return Signature(
        account=principal.account,
        name=principal.name or principal.account,
        meaning=meaning,
        at=desk.clock(),
        record=record,
        record_sha256=record_sha256,
        how=principal.how,
    )


def _is_proven(
    request: Request, desk: Desk, principal: Principal, record_sha256: str, form: Mapping[str, Any]
) -> bool:
    if principal.how == "openid":
        number = desk.number(request)
        return desk.sessions.use_proof(number, record_sha256, desk.clock(), PROOF_LASTS)
    if principal.how != "password":
        return False
    password = form.get("signature-password", "")
    given = password if isinstance(password, str) else ""
    found = desk.with_password(principal.account, given, address_of(request), purpose="signature")
    return found is not None and found.name == principal.account
