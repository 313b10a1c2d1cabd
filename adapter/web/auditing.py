"""The audit in the browser: who saw, changed, approved, exported what and when, and whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from adapter.access import Principal, reaches
from adapter.store import audit
from adapter.store.audit import Entry, Sought
from adapter.store.chain import Link, sealed
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import reading
from adapter.web.access import Clock, Denied, allowed, premises
from adapter.web.frame import Pages

ROWS = 50
FIELDS = ("actor", "action", "what", "since", "until", "before")
# What a sponsor may see of the audit: what left the site, and who was let pull it.
EXPORTS = frozenset({"export", "grant", "pull", "pulled", "revoke"})
Sees = Annotated[Principal, Depends(allowed("see-audit"))]
Verifies = Annotated[Principal, Depends(allowed("verify-audit"))]


def router(engine: Engine, pages: Pages, clock: Clock, checkpoints: Path | None = None) -> APIRouter:
    """``/audit``, a row of it, and the button that verifies the chain against the ``checkpoints`` file."""
    routes = APIRouter(prefix="/audit", default_response_class=HTMLResponse)

    @routes.get("")
    def newest(request: Request, principal: Sees) -> Response:
        return rows(request, principal, {})

    @routes.post("")
    async def sought(request: Request, principal: Sees) -> Response:
        """What is sought comes in the body, so that no address ever names a patient."""
        form = await request.form(max_files=0)
        asked = {name: str(form.get(name, "")).strip()[:200] for name in FIELDS}
        return await run_in_threadpool(rows, request, principal, {k: v for k, v in asked.items() if v})

    def rows(request: Request, principal: Principal, asked: Mapping[str, str]) -> Response:
        wanted = _sought(asked, _limits(request, principal))
        with reading(engine) as connection:
            found = audit.newest(connection, wanted, ROWS + 1)
            head = audit.head(connection)
        shown = found[:ROWS]
        _note(engine, principal, "audit-see", clock(), rows=len(shown), by=sorted(asked))
        return pages.show(
            request,
            principal,
            "audit/rows.html",
            rows=[_plain(link) for link in shown],
            asked=asked,
            head=head,
            older=shown[-1].number if len(found) > ROWS else 0,
        )

    @routes.get("/{number}")
    def row(request: Request, principal: Sees, number: int) -> Response:
        limits = _limits(request, principal)
        with reading(engine) as connection:
            found = audit.newest(connection, msgspec.structs.replace(limits, before=number + 1), 1)
        if not found or found[0].number != number:
            raise Denied(404, "there is nothing here for you")
        _note(engine, principal, "audit-see", clock(), (f"audit/{number}",))
        link = found[0]
        told = {key: _text(value) for key, value in sorted(msgspec.json.decode(link.detail).items())}
        return pages.show(
            request, principal, "audit/row.html", row=_plain(link), detail=told, holds=sealed(link) == link
        )

    @routes.post("/verify")
    def verify(request: Request, principal: Verifies) -> Response:
        known = () if checkpoints is None else CheckpointFile(checkpoints).read()
        verdict = audit.verify(engine, known)
        _note(engine, principal, "audit-verify", clock(), sound=verdict.sound, rows=verdict.rows)
        return pages.show(request, principal, "audit/verdict.html", verdict=verdict)

    return routes


def _limits(request: Request, principal: Principal) -> Sought:
    """What the principal may find at all, by how far ``see-audit`` reaches for them."""
    here = premises(request)
    reach = reaches(principal, "see-audit", here.study, here.site)
    if reach & {"site", "dated"}:
        return Sought()
    return Sought(
        actors=frozenset({principal.account} if "own-actions" in reach else ()),
        actions=EXPORTS if "export-log" in reach else frozenset(),
    )


def _sought(asked: Mapping[str, str], limits: Sought) -> Sought:
    until = _day(asked.get("until", ""))
    before = asked.get("before", "")
    return msgspec.structs.replace(
        limits,
        actor=asked.get("actor", ""),
        action=asked.get("action", ""),
        what=asked.get("what", ""),
        since=_day(asked.get("since", "")),
        until=None if until is None else until + timedelta(days=1),
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 10 else 0,
    )


def _day(text: str) -> datetime | None:
    """The start of a day, UTC; raises :class:`Denied` for a text that is none."""
    try:
        return datetime.combine(date.fromisoformat(text), time(tzinfo=UTC)) if text else None
    except ValueError:
        raise Denied(422, "a day is written YYYY-MM-DD") from None


def _plain(link: Link) -> dict[str, Any]:
    at = datetime.fromisoformat(link.at).astimezone(UTC)
    return {
        **msgspec.structs.asdict(link),
        "when": f"{at:%Y-%m-%d %H:%M:%S}",
        "references": [str(one) for one in msgspec.json.decode(link.what)],
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="deterministic").decode()


def _note(
    engine: Engine,
    principal: Principal,
    action: str,
    now: datetime,
    what: tuple[str, ...] = (),
    **detail: object,
) -> None:
    with engine.begin() as connection:
        audit.append(connection, Entry(now, principal.account, action, what, detail))
