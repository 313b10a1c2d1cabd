"""Sign-ins under way at an identity provider: what we asked, kept here until the answer comes, used once.

A handshake belongs to one browser (by a cookie of its own) and to one ``state``: an answer that comes with
another of either is not ours. Source: OpenID Connect Core 1.0, 3.1.2.1; RFC 9700, 4.7.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import Column, Engine, String, Table, delete, insert, select

from adapter.store.tables import TABLES

_HANDSHAKE = Table(
    "sign_in_handshake",
    TABLES,
    Column("state_sha256", String(64), primary_key=True),
    Column("browser_sha256", String(64), nullable=False),
    Column("kind", String, nullable=False),
    Column("kept", String, nullable=False),  # JSON
    Column("began_at", String, nullable=False),
)
LASTS = timedelta(minutes=10)


class Handshakes:
    """``kind`` keeps sign-ins, signatures and launches apart; ``kept`` is whatever its maker needs again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def begin(self, kind: str, state: str, kept: Mapping[str, str], now: datetime) -> str:
        """A new one for a random ``state``; returns the random number for the browser's cookie."""
        browser = secrets.token_urlsafe(32)
        with self._engine.begin() as connection:
            connection.execute(delete(_HANDSHAKE).where(_HANDSHAKE.c.began_at <= _text(now - LASTS)))
            connection.execute(
                insert(_HANDSHAKE).values(
                    state_sha256=_hash(state),
                    browser_sha256=_hash(browser),
                    kind=kind,
                    kept=msgspec.json.encode(kept).decode(),
                    began_at=_text(now),
                )
            )
        return browser

    def finish(self, kind: str, state: str, browser: str, now: datetime) -> dict[str, str] | None:
        """What was kept, if this browser began it not long ago; whoever comes second gets None."""
        mine = (
            _HANDSHAKE.c.state_sha256 == _hash(state),
            _HANDSHAKE.c.browser_sha256 == _hash(browser),
            _HANDSHAKE.c.kind == kind,
        )
        with self._engine.begin() as connection:
            row = connection.execute(select(_HANDSHAKE).where(*mine)).one_or_none()
            if row is None or connection.execute(delete(_HANDSHAKE).where(*mine)).rowcount != 1:
                return None
        if row.began_at <= _text(now - LASTS):
            return None
        return msgspec.json.decode(row.kept, type=dict[str, str])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
