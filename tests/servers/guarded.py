"""A hospital whose FHIR server asks for tokens, and the authorisation server that gives them; on loopback.

What a statement must be is checked here from the standards, without the library that the adapter signs with:
RFC 7515 (compact form), RFC 7518, 3.3 and 3.4 (RS384 by PKCS #1 v1.5; ES384 as two numbers side by side),
SMART App Launch 2.2, "Backend Services". Everything that may go wrong is a field.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA384
from fastapi import FastAPI, Request, Response

Json = dict[str, Any]
FHIR = "application/fhir+json"


class Wrong(Exception):
    """A statement that is not in order; the text is for the test's eyes."""


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def number(part: str) -> int:
    return int.from_bytes(decoded(part), "big")


def statement(compact: str, jwks: Json) -> tuple[Json, Json]:
    """Header and claims of a signed statement; raises :class:`Wrong` if no such key signed it."""
    parts = compact.split(".")
    if len(parts) != 3:
        raise Wrong("not three parts")
    header, claims = json.loads(decoded(parts[0])), json.loads(decoded(parts[1]))
    signed, signature = f"{parts[0]}.{parts[1]}".encode(), decoded(parts[2])
    known = [key for key in jwks["keys"] if key["kid"] == header.get("kid")]
    if len(known) != 1:
        raise Wrong("kid not registered")
    key = known[0]
    try:
        if header["alg"] == "RS384" and key["kty"] == "RSA":
            public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
            public.verify(signature, signed, padding.PKCS1v15(), SHA384())
        elif (
            header["alg"] == "ES384" and key["kty"] == "EC" and key["crv"] == "P-384" and len(signature) == 96
        ):
            point = ec.EllipticCurvePublicNumbers(number(key["x"]), number(key["y"]), ec.SECP384R1())
            pair = (int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big"))
            point.public_key().verify(utils.encode_dss_signature(*pair), signed, ec.ECDSA(SHA384()))
        else:
            raise Wrong(f"alg {header['alg']} does not fit the key")
    except InvalidSignature:
        raise Wrong("signature") from None
    return header, claims


@dataclass
class Guarded:
    """What the hospital knows and how it misbehaves. ``ahead`` is its clock against ours, in seconds;
    ``faults`` are answers of the token address given first, one each; ``grants`` the scopes it gives (None
    says nothing of them); ``lives`` how long a token really lives and ``says`` what it says of that."""

    jwks: Json
    client_id: str = "trial-adapter"
    ahead: float = 0.0
    grants: str | None = "as asked"
    lives: float = 300.0
    says: Any = "the truth"
    configuration: Json = field(default_factory=dict)
    faults: list[Callable[[], Response]] = field(default_factory=list)
    metadata: Json = field(default_factory=dict)
    resources: dict[str, list[Json]] = field(default_factory=dict)
    page: int = 2
    page_seconds: float = 0.0
    refuses: dict[str, int] = field(default_factory=dict)
    ignores: set[str] = field(default_factory=set)
    needs_category: set[str] = field(default_factory=set)
    open_door: bool = False
    base_url: str = ""
    tokens: dict[str, float] = field(default_factory=dict)
    statements: list[tuple[Json, Json]] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    unauthorised: int = 0

    @property
    def token_url(self) -> str:
        return self.base_url.removesuffix("/fhir") + "/auth/token"

    def now(self) -> float:
        return time.time() + self.ahead

    def revoke(self) -> None:
        self.tokens.clear()

    def _accept(self, form: dict[str, str]) -> None:
        if form.get("grant_type") != "client_credentials":
            raise Wrong("grant_type")
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            raise Wrong("client_assertion_type")
        header, claims = statement(form["client_assertion"], self.jwks)
        used = {one["jti"] for _, one in self.statements}
        self.statements.append((header, claims))
        checks = {
            "typ": header.get("typ") == "JWT",
            "iss": claims.get("iss") == self.client_id,
            "sub": claims.get("sub") == self.client_id,
            "aud": claims.get("aud") == self.token_url,
            "exp past": claims["exp"] > self.now(),
            "exp far": claims["exp"] <= self.now() + 300,
            "iat": claims.get("iat", 0) <= self.now() + 5,
            "jti": bool(claims.get("jti")) and claims["jti"] not in used,
        }
        if failed := [name for name, good in checks.items() if not good]:
            raise Wrong(", ".join(failed))

    def token(self, form: dict[str, str]) -> Response:
        self.forms.append(form)
        if self.faults:
            return self.faults.pop(0)()
        try:
            self._accept(form)
        except Wrong as fault:
            self.wrong.append(str(fault))
            body = {"error": "invalid_client", "error_description": f"{form.get('client_assertion')}"}
            return Response(json.dumps(body), 400, media_type="application/json")
        made = secrets.token_urlsafe(24)
        self.tokens[made] = time.monotonic() + self.lives
        answer = {"access_token": made, "token_type": "bearer", "scope": self.grants, "expires_in": self.says}
        if self.grants == "as asked":
            answer["scope"] = form["scope"]
        if self.says == "the truth":
            answer["expires_in"] = self.lives
        kept = {name: value for name, value in answer.items() if value is not None}
        return Response(json.dumps(kept), media_type="application/json")

    def admits(self, request: Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        good = self.open_door or time.monotonic() < self.tokens.get(given, 0)
        self.unauthorised += not good
        return good

    def search(self, kind: str, request: Request) -> Response:
        if kind in self.needs_category and not {"category", "code"} & request.query_params.keys():
            return Response('{"resourceType": "OperationOutcome"}', 400, media_type=FHIR)
        if kind in self.refuses:
            return Response('{"resourceType": "OperationOutcome"}', self.refuses[kind], media_type=FHIR)
        if self.page_seconds:
            time.sleep(self.page_seconds)
        asked = [(name, value) for name, value in request.query_params.multi_items() if name != "_page"]
        at = int(request.query_params.get("_page", "0"))
        stop = at + min(self.page, int(request.query_params.get("_count", "1000")))
        everything = self.resources.get(kind, [])
        url = f"{self.base_url}/{kind}"
        query = "&".join(f"{name}={value}" for name, value in asked)
        used = "&".join(f"{name}={value}" for name, value in asked if name not in self.ignores)
        links = [{"relation": "self", "url": f"{url}?{used}"}]
        if stop < len(everything):
            links.append({"relation": "next", "url": f"{url}?{query}&_page={stop}"})
        bundle = {
            "resourceType": "Bundle",
            "type": "searchset",
            "total": len(everything),
            "link": links,
            "entry": [{"resource": one, "search": {"mode": "match"}} for one in everything[at:stop]],
        }
        return Response(json.dumps(bundle), media_type=FHIR)

    def app(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.middleware("http")
        async def dated(request: Request, call_next: Any) -> Response:
            self.requests.append(request.url.path)
            answer: Response = await call_next(request)
            answer.headers["Date"] = formatdate(self.now(), usegmt=True)
            return answer

        @app.post("/auth/token")
        async def token(request: Request) -> Response:
            return self.token(dict(parse_qsl((await request.body()).decode("ascii"))))

        @app.get("/fhir/.well-known/smart-configuration")
        def configuration() -> Json:
            return {
                "token_endpoint": self.token_url,
                "grant_types_supported": ["client_credentials"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
                **self.configuration,
            }

        @app.get("/fhir/metadata")
        def metadata() -> Response:
            return Response(json.dumps(self.metadata), media_type=FHIR)

        @app.get("/fhir/{kind}")
        def search(kind: str, request: Request) -> Response:
            return self.search(kind, request) if self.admits(request) else Response(status_code=401)

        @app.get("/fhir/{kind}/{name}")
        def read(kind: str, name: str, request: Request) -> Response:
            if not self.admits(request):
                return Response(status_code=401)
            found = next((one for one in self.resources.get(kind, []) if one["id"] == name), None)
            return Response(json.dumps(found), 200 if found else 404, media_type=FHIR)

        return app


@contextmanager
def serving(hospital: Guarded, **options: Any) -> Iterator[Guarded]:
    """Run it on a free loopback port; ``options`` are uvicorn's (``ssl_keyfile`` and the like)."""
    config = uvicorn.Config(
        hospital.app(), host="127.0.0.1", port=0, log_level="error", date_header=False, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    scheme = "https" if "ssl_keyfile" in options else "http"
    hospital.base_url = f"{scheme}://127.0.0.1:{port}/fhir"
    try:
        yield hospital
    finally:
        server.should_exit = True
        thread.join(10)
