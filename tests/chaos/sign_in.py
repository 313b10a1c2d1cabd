"""What the proxy is besides: the hospital's authorisation server, or the keeper of a token file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl

from tests.servers.guarded import Json, Wrong, statement

TOKEN_PATH = "/auth/token"
CONFIGURATION = "/.well-known/smart-configuration"


class SignIn:
    """With keys (public, newest first) tokens are had for signed statements; without, from ``token_file``."""

    def __init__(self, token_file: Path) -> None:
        self.token_file = token_file
        self._keys: list[Json] = []
        self._valid = 0
        self._tokens: set[str] = set()
        self.expect(())

    def expect(self, keys: Sequence[Json]) -> None:
        self._keys, self._tokens = list(keys), set()
        self._write()

    def expire(self, *, rotated: bool) -> None:
        """No token is good any more; ``rotated``: nor is our newest key, unless it is the last."""
        self._tokens.clear()
        if rotated and len(self._keys) > 1:
            del self._keys[0]
        if not self._keys:
            self._valid += 1
            self._write()

    def admits(self, authorization: str) -> bool:
        if self._keys:
            return authorization.removeprefix("Bearer ") in self._tokens
        return authorization == f"Bearer t{self._valid}"

    def asked(self, path: str) -> bool:
        """Whether this request is for us and not for the FHIR server."""
        return bool(self._keys) and (path == TOKEN_PATH or path.endswith(CONFIGURATION))

    def answer(self, path: str, body: bytes, origin: str) -> tuple[int, Json]:
        if path != TOKEN_PATH:
            return 200, {
                "token_endpoint": origin + TOKEN_PATH,
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["ES384"],
            }
        form = dict(parse_qsl(body.decode("ascii")))
        try:
            statement(form["client_assertion"], {"keys": self._keys})
        except Wrong:
            return 400, {"error": "invalid_client"}
        made = secrets.token_urlsafe(12)
        self._tokens.add(made)
        return 200, {"access_token": made, "token_type": "bearer", "expires_in": 300, "scope": form["scope"]}

    def _write(self) -> None:
        self.token_file.write_text(f"t{self._valid}\n")


def encoded(said: Json) -> bytes:
    return json.dumps(said).encode()
