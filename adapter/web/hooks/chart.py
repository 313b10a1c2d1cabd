"""What was not sent along, fetched from the hospital with the token that came with the call.

The token is the caller's, for this patient and these minutes; it goes to the site's own FHIR server, or one
that the site lists, and nowhere else. Whatever does not answer in time stays missing, and is said to be.
Source: CDS Hooks 2.0, "FHIR resource access".
"""

from __future__ import annotations

import asyncio
import re

import msgspec

from adapter.errors import AdapterError, SourceUntrustworthy
from adapter.origins import Origins
from adapter.source.client import FhirClient, Patience
from adapter.source.dialects import Dialect
from adapter.source.nominate import subjects_of
from adapter.source.questions import BY_PATIENT
from adapter.source.search import search
from adapter.web.hooks.prefetch import STUDIES, Gathered

SECONDS = 4.0  # callers wait about half a second, and some a few; nobody waits longer
_PATIENCE = Patience(attempts=1, connect=2.0, read=3.0, total=3.5, max_bytes=16 * 2**20)
_SCOPE = re.compile(r"(?:patient|user|system)/(\*|[A-Z][A-Za-z]+)\.(read|\*|[cruds]+)(\?.*)?")
_JSON = msgspec.json.Decoder()


class Authorization(msgspec.Struct, frozen=True):
    """``fhirAuthorization``."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the kind of token, not one
    expires_in: int = 0
    scope: str = ""
    subject: str = ""
    patient: str = ""

    def reads(self, kind: str) -> bool:
        """Whether the scopes, where there are any, let all of a type be searched: an answer without scope
        looks like an answer without records."""
        found = [_SCOPE.fullmatch(one) for one in self.scope.split()]
        whole = [one for one in found if one is not None and not one[3]]
        right = [one for one in whole if one[2] in ("read", "*") or {"r", "s"} <= set(one[2])]
        return not self.scope or any(one[1] in ("*", kind) for one in right)


async def complete(
    gathered: Gathered,
    patient: str,
    study: str,
    base_url: str,
    token: Authorization,
    *,
    origins: Origins | None,
    dialect: Dialect | None,
    ca_file: str,
) -> None:
    """Search for everything that is missing, all at once. Raises :class:`SourceUntrustworthy` for a server
    that is not the site's."""
    if origins is None or not origins.is_known(base_url):
        raise SourceUntrustworthy("fhirServer is no server of this site", where="fhirServer")

    async def value(*, renew: bool = False) -> str:
        return token.access_token

    client = FhirClient(
        base_url, value, patience=_PATIENCE, origins=origins, ca_file=ca_file, dialect=dialect, connections=16
    )
    async with client:
        await asyncio.gather(
            *(_one(gathered, client, kind, patient, study, token) for kind in gathered.missing())
        )


async def _one(
    gathered: Gathered, client: FhirClient, kind: str, patient: str, study: str, token: Authorization
) -> None:
    if not token.reads(kind):
        gathered.take(kind, [], "the token does not cover it")
        return
    try:
        async with asyncio.timeout(SECONDS):
            if kind == "Patient":
                url = client.url(f"Patient/{patient}")
                found, why = [bytes(await client.get(url, msgspec.Raw, where="Patient read"))], ""
            else:
                found, why = await _searched(client, kind, patient, study)
    except (AdapterError, TimeoutError) as fault:
        found, why = (
            [],
            "the hospital's server did not answer" + (" in time" if isinstance(fault, TimeoutError) else ""),
        )
    gathered.take(kind, found, why)


async def _searched(client: FhirClient, kind: str, patient: str, study: str) -> tuple[list[bytes], str]:
    if kind == STUDIES:
        answer = await search(client, kind, {"identifier": study})
    else:
        params = {BY_PATIENT[kind][0]: f"Patient/{patient}"}
        if kind.startswith("Medication"):
            params["_include"] = f"{kind}:medication"
        answer = await search(
            client, kind, params, belongs=lambda raw: patient in subjects_of(_JSON.decode(raw))[0]
        )
    return [entry.raw for entry in answer.entries], answer.reason
