"""What is answered to whom, and what the audit says of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from fastapi import Request, Response
from sqlalchemy import Engine

from adapter.exports.difference import difference
from adapter.exports.snapshots import read
from adapter.model import wire
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.sponsor_tokens import Receipt, SponsorTokens, Token
from adapter.web.problem import Problem
from adapter.web.sponsor import representation
from adapter.web.sponsor.asker import Failures, Refused, asker
from adapter.web.sponsor.made import Made, Workshop, gzipped
from adapter.web.sponsor.sending import conditional, delivered
from adapter.web.sponsor.shelf import Damaged, Held, Opened, Shelf

LATEST = "latest"
_PACKED = range(512, 1 << 30)  # bytes of a file that is worth packing, and not too long in the packing
_NOT_PACKED = {".parquet"}


class _Call:
    """One request of a known token, and what the audit is going to call it."""

    def __init__(self, desk: Desk, request: Request, token: Token, now: datetime) -> None:
        self.request = request
        self.token = token
        self.now = now
        self.what = ""
        self._desk = desk

    def note(self, status: int, size: int, **more: Any) -> None:
        told = {"token": self.token.id, "status": status, "bytes": size, **more}
        self._desk.note(Entry(self.now, self.token.name, "pull", (self.what,), told))


class Desk:
    """Answers requests for the snapshots of one folder; ``made`` keeps what is made of them."""

    def __init__(self, snapshots: Path, made: Path, database: Engine, clock: Callable[[], datetime]) -> None:
        self._snapshots = snapshots
        self._shelf = Shelf(snapshots)
        self._workshop = Workshop(made, self._shelf)
        self._engine = database
        self._tokens = SponsorTokens(database)
        self._failures = Failures()
        self._clock = clock
        self._comparing = threading.Lock()

    def note(self, entry: Entry) -> None:
        with self._engine.begin() as connection:
            audit.append(connection, entry)

    def listed(self, request: Request) -> Response:
        def work(call: _Call) -> Response:
            call.what = "snapshots"
            found, damaged = self._shelf.listed(call.token.scope)
            last = self._tokens.last_receipt(call.token)
            body = msgspec.json.encode(
                {"snapshots": [_summary(one) for one in found], "last_pull": last.snapshot if last else None}
            )
            call.note(200, len(body), **({"damaged": damaged} if damaged else {}))
            return Response(body, 200, {"Cache-Control": "no-store"}, media_type="application/json")

        return self._answered(request, work)

    def manifest(self, request: Request, name: str) -> Response:
        def work(call: _Call) -> Response:
            held = self._held(call, name, "manifest.json")
            return conditional(call, held.manifest, held.sha256, "application/json")

        return self._answered(request, work)

    def file(self, request: Request, name: str, path: str) -> Response:
        def work(call: _Call) -> Response:
            held = self._held(call, name, path)
            if path not in held.files:
                raise Problem(404, "not-found", "No such file", "The manifest names the files there are.")
            ending = Path(path).suffix
            worth = ending not in _NOT_PACKED and held.files[path].size in _PACKED
            opened = self._shelf.open(held, path)
            packing = representation.encoding(request.headers.get("accept-encoding"), compressible=worth)
            if packing == "identity":
                return delivered(call, Made(opened, held.files[path].sha256), path, "")
            try:
                made = self._workshop.get(
                    f"{held.files[path].sha256}-gzip", lambda: gzipped(_whole(opened, held, path))
                )
            finally:
                opened.close()
            return delivered(call, made, path, "gzip")

        return self._answered(request, work)

    def difference(self, request: Request, name: str, since: str) -> Response:
        """Between ``since``, or what the token's holder had last, and a snapshot."""

        def work(call: _Call) -> Response:
            held = self._held(call, name, "difference")
            last = self._tokens.last_receipt(call.token)
            if not since and last is None:
                raise Problem(
                    404, "no-pull", "No pull is on record", "State what you have: ?since=<snapshot id>."
                )
            former = self._held(call, since or (last.snapshot if last else ""), "difference")
            call.what = f"{held.id}/difference/{former.id}"
            made = self._workshop.get(f"{former.id}-{held.id}", lambda: self._compared(former, held))
            return delivered(call, made, "difference.json", "")

        return self._answered(request, work)

    def receipt(self, request: Request, name: str, manifest_sha256: str) -> Response:
        def work(call: _Call) -> Response:
            held = self._held(call, name, "receipt")
            if manifest_sha256 != held.sha256:
                raise Problem(
                    409, "other-manifest", "This is not the manifest's SHA-256", "Pull the snapshot again."
                )
            self._tokens.received(call.token, Receipt(held.id, held.sha256, call.now))
            return Response(status_code=204)

        return self._answered(request, work)

    def nothing(self, request: Request) -> Response:
        def work(call: _Call) -> Response:
            call.what = "sponsor"
            raise Problem(404, "not-found", "There is nothing here")

        return self._answered(request, work)

    def _answered(self, request: Request, work: Callable[[_Call], Response]) -> Response:
        """What ``work`` answers; its refusals and damages noted. Raises :class:`Problem`."""
        now = self._clock()
        try:
            token = asker(request, self._tokens, self._failures, now)
        except Refused as refused:
            if refused.tell:
                told = {"token": refused.token, "status": refused.problem.status, "refused": refused.reason}
                self.note(Entry(now, refused.actor, "pull", ("sponsor",), {**told, "bytes": 0}))
            raise refused.problem from None
        call = _Call(self, request, token, now)
        try:
            return work(call)
        except Problem as problem:
            call.note(problem.status, 0, refused=problem.kind)
            raise
        except OSError:
            call.note(503, 0, refused="disk")
            raise Problem(
                503, "disk", "Not now", "The site's disk takes nothing now.", {"Retry-After": "60"}
            ) from None
        except Damaged as damage:
            call.note(500, 0, refused="damaged", damaged=f"{damage.snapshot}/{damage.what}")
            raise Problem(
                500,
                "damaged",
                "This snapshot is not as it was kept",
                "It is not sent. Tell the site; its command adapter snapshots --verify says what differs.",
            ) from None

    def _held(self, call: _Call, name: str, what: str) -> Held:
        """The snapshot of this id, or the latest, if it is in the token's scope; raises :class:`Problem`."""
        call.what = f"{name}/{what}"[:200]
        if name == LATEST:
            found, _ = self._shelf.listed(call.token.scope)
            if not found:
                raise Problem(404, "not-found", "No snapshot yet")
            call.what = f"{found[-1].id}/{what}"[:200]
            return found[-1]
        held = self._shelf.held(name)
        if held is not None and held.scope == call.token.scope:
            return held
        if held is None and self._tokens.had(call.token, name):
            raise Problem(410, "gone", "This snapshot was withdrawn", "Pull the latest one.")
        raise Problem(404, "not-found", "No such snapshot", "/sponsor/snapshots lists what this token opens.")

    def _compared(self, former: Held, latter: Held) -> Iterable[bytes]:
        """One at a time: both snapshots are in memory meanwhile."""
        with self._comparing:
            yield self._difference(former, latter)

    def _difference(self, former: Held, latter: Held) -> bytes:
        for held in (former, latter):
            for path in held.files:
                self._shelf.open(held, path).close()
        one, other = (read(self._snapshots / held.id) for held in (former, latter))
        return wire.encode(difference(one, other, ((), ())))


def _whole(opened: Opened, held: Held, path: str) -> Iterable[bytes]:
    """All pieces; raises :class:`Damaged` if the file is changed meanwhile."""
    size = 0
    for piece in opened.pieces():
        size += len(piece)
        yield piece
    if size != opened.size:
        raise Damaged(held.id, path)


def _summary(held: Held) -> dict[str, Any]:
    return {
        "id": held.id,
        "time": held.time,
        "study": held.scope.study,
        "site": held.scope.site,
        "profile": held.scope.profile,
        "manifest_sha256": held.sha256,
        "files": len(held.files),
        "bytes": sum(one.size for one in held.files.values()),
        "rows": {one["name"]: one["rows"] for one in held.content["datasets"]},
    }
