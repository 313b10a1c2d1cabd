"""An EHR that launches apps: SMART configuration, authorisation, tokens with a patient, signed ID tokens.

Strict where SMART App Launch 2.2 is: PKCE with S256, an exact redirect address, ``aud`` its own FHIR base, a
launch it handed out, a code that works once. What it does wrong on purpose is in ``lies``.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from tests.servers.ehr import Ehr

CLIENT, SECRET = "trial-adapter", "a secret of sixteen or more"


class Launcher:
    def __init__(self, now: datetime, *, confidential: bool = False) -> None:
        self.now, self.confidential = now, confidential
        self.keys = Ehr("", "RS384")
        self.base = ""
        self.launches: dict[str, str] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.lies: dict[str, Any] = {}
        self.asked: list[dict[str, str]] = []

    @property
    def iss(self) -> str:
        return f"{self.base}/fhir"

    def open(self, patient: str) -> str:
        """Somebody has this patient's chart open and presses the button."""
        handle = secrets.token_urlsafe(8)
        self.launches[handle] = patient
        return handle

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/fhir/.well-known/smart-configuration")
        def configuration() -> dict[str, Any]:
            return {
                "issuer": self.base,
                "jwks_uri": f"{self.base}/jwks",
                "authorization_endpoint": f"{self.base}/authorize",
                "token_endpoint": f"{self.base}/token",
                "grant_types_supported": ["authorization_code"],
                "code_challenge_methods_supported": ["S256"],
                "capabilities": ["launch-ehr", "client-public", "sso-openid-connect"],
                **self.lies.get("configuration", {}),
            }

        @app.get("/jwks")
        def jwks() -> dict[str, Any]:
            return self.keys.jwks()

        @app.get("/authorize")
        def authorize(request: Request) -> Response:
            asked = dict(request.query_params)
            self.asked.append(asked)
            right = (
                asked.get("response_type") == "code"
                and asked.get("client_id") == CLIENT
                and asked.get("aud") == self.iss
                and asked.get("launch") in self.launches
                and asked.get("code_challenge_method") == "S256"
                and len(asked.get("state", "")) >= 22
                and "launch" in asked.get("scope", "").split()
            )
            if not right:
                return JSONResponse({"error": "invalid_request"}, 400)
            code = secrets.token_urlsafe(16)
            self.codes[code] = asked
            answer = urlencode({"code": code, "state": asked["state"]})
            return RedirectResponse(f"{asked['redirect_uri']}?{answer}", 302)

        @app.post("/token")
        async def token(request: Request) -> Response:
            form = {name: some[0] for name, some in parse_qs((await request.body()).decode()).items()}
            asked = self.codes.pop(form.get("code", ""), None)
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if (
                asked is None
                or challenge != asked["code_challenge"]
                or form.get("redirect_uri") != asked["redirect_uri"]
                or not self._client(request, form)
            ):
                return JSONResponse({"error": "invalid_grant"}, 400)
            claims = {
                "iss": self.base,
                "sub": "dr-wang",
                "nonce": asked["nonce"],
                "name": "王医生",
                **self.lies.get("claims", {}),
            }
            answer = {
                "access_token": secrets.token_urlsafe(16),
                "token_type": "Bearer",
                "expires_in": 300,
                "scope": asked["scope"],
                "patient": self.launches[asked["launch"]],
                "id_token": self.keys.token(claims.pop("aud", CLIENT), self.now, **claims),
                **self.lies.get("token", {}),
            }
            return JSONResponse({name: value for name, value in answer.items() if value is not None})

        return app

    def _client(self, request: Request, form: dict[str, str]) -> bool:
        if not self.confidential:
            return form.get("client_id") == CLIENT
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        pair = base64.b64decode(given).decode() if scheme == "Basic" else ""
        return pair.replace("+", "%20").replace("%20", " ") == f"{CLIENT}:{SECRET}"


@contextmanager
def serving(launcher: Launcher) -> Iterator[Launcher]:
    """On a free port of loopback while the block lasts."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        launcher.base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(launcher.app(), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        try:
            yield launcher
        finally:
            server.should_exit = True
            thread.join(10)
