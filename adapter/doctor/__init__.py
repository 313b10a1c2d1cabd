"""``adapter doctor``: one page of what works at a site and what to fix, before any record is read in earnest.

Everything is tried for real and nothing is written to the hospital. No patient data is shown: statuses, names
of types and parameters, codes and units. A check that cannot be done says why; the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

from adapter.doctor import connection, machine, sample, server
from adapter.doctor.finding import Examination, Finding, State, careful
from adapter.errors import ConfigError
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.origins import origin_of
from adapter.source.auth.token import TokenSource
from adapter.source.client import FhirClient, Patience
from adapter.source.dialects import named
from adapter.source.questions import BY_PATIENT
from adapter.trial import Trial, Workspace, origins_of, token_source

__all__ = ["Examination", "Finding", "State", "examine"]

_PATIENCE = Patience(attempts=2, connect=10.0, read=30.0, total=30.0, max_wait=10.0)


async def examine(
    trial: Trial,
    workspace: Workspace,
    base_url: str = "",
    *,
    now: Callable[[], datetime],
    patience: Patience = _PATIENCE,
) -> Examination:
    """Look at everything once. ``now`` tells the time. Raises ConfigError where there is no server."""
    url, site = base_url or trial.site.base_url, trial.site
    if not url:
        raise ConfigError(
            "the site has no server", where="site.toml, base_url", fix="set it, or give --base-url"
        )
    origins = origins_of(site, url)
    found = await careful("tls", lambda: connection.certificate(url, site, now()))
    reached = all(one.state != "fail" for one in found)
    if reached:
        found += await careful("clock", lambda: connection.clock(url, origins, site, now))
        found += await _inside(trial, url, patience)
    else:
        found.append(Finding("server", "fail", "not looked at: it cannot be reached safely", "see tls"))

    async def here() -> list[Finding]:
        return machine.database(workspace)

    found += machine.disk(workspace)
    found += await careful("database", here)
    return Examination(site.site_id, str(origin_of(url)), tuple(found))


async def _inside(trial: Trial, url: str, patience: Patience) -> list[Finding]:
    """What can be seen with a token (or without one, where none is configured)."""
    site = trial.site
    essential, wanted = needs(trial)

    source: TokenSource | None = None

    async def signed_in() -> list[Finding]:
        nonlocal source
        source = token_source(trial, url)
        key_file = os.environ.get("ADAPTER_SMART_KEY_FILE") or (site.smart.key_file if site.smart else "")
        return await connection.token(source, site, key_file)

    found = await careful("token", signed_in)
    if any(one.state == "fail" for one in found):
        fix = "mend the token first"
        return [*found, Finding("server", "fail", "not looked at: signing in does not work", fix)]
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    async with FhirClient(
        url,
        source,
        patience=patience,
        origins=origins_of(site, url),
        ca_file=site.ca_file,
        dialect=named(site.dialect),
    ) as client:
        said: dict[str, Any] = {}

        async def metadata() -> list[Finding]:
            said.update(await server.statement(client))
            return server.capabilities(said, essential, wanted)

        async def rungs() -> list[Finding]:
            return server.write_back(said, site, source)

        found += await careful("metadata", metadata)
        found += server.dialect(client)
        found += connection.scopes(source, essential, wanted)
        found += await careful("searches", lambda: server.searches(client, said, query, essential))
        found += await careful("codes", lambda: sample.results(client, trial.terminology))
        found += server.export(said)
        found += await careful("write-back", rungs)
    return found


def needs(trial: Trial) -> tuple[set[str], set[str]]:
    """Types without which nobody is found or judged, and all others that a crawl reads."""
    clause, concepts = trial.protocol.candidates, trial.vocabulary.concepts
    nominating = {
        kind for name in clause.events if name in concepts for kind in concepts[name].resource_types
    }
    essential = {"Patient", "Observation"} | (nominating & BY_PATIENT.keys())
    return essential, BY_PATIENT.keys() - essential
