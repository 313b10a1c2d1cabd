"""Where a bearer token comes from, asked for each request.

A token may be rotated or expire in mid-download, so nobody keeps one: the client asks before each request
and asks again, with ``renew``, after a 401. SMART Backend Services is another :class:`TokenSource`, in
:mod:`adapter.source.auth.smart`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from adapter.errors import ConfigError


class TokenSource(Protocol):
    """Gives the current access token; ``renew`` asks for another one than last time, if there can be one."""

    async def __call__(self, *, renew: bool = False) -> str: ...


class FileToken:
    """A token kept in a file by someone else (a sidecar, an operator), read at every use."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def __call__(self, *, renew: bool = False) -> str:
        try:
            token = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(
                f"the token cannot be read ({type(fault).__name__})",
                where=str(self._path),
                fix="put the bearer token into this file, readable by this user only",
            ) from None
        if not token or any(char.isspace() for char in token):
            raise ConfigError("not one token", where=str(self._path), fix="the file holds the token alone")
        return token


class FixedToken:
    """A token that was already read, as from :meth:`adapter.config.Site.secret`."""

    def __init__(self, token: bytes) -> None:
        self._token = token.decode("ascii")

    def __repr__(self) -> str:
        return "FixedToken(***)"

    async def __call__(self, *, renew: bool = False) -> str:
        return self._token
