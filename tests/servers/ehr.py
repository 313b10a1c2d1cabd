"""An electronic health record that calls CDS services: its keys, its statements, its calls.

A caller by the book of CDS Hooks 2.0, "Trusting CDS Clients"; written without our own code for tokens (the
signatures are cryptography's).
"""

from __future__ import annotations

import base64
import json
import uuid
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, length: int) -> str:
    return _b64(value.to_bytes(length, "big"))


class Ehr:
    """One key, ``ES384`` or ``RS384``, and statements made with it."""

    def __init__(self, iss: str, alg: str = "ES384", kid: str = "k1") -> None:
        self.iss, self.alg, self.kid = iss, alg, kid
        self._ec = ec.generate_private_key(ec.SECP384R1())
        self._rsa = rsa.generate_private_key(65537, 2048) if alg == "RS384" else None

    def jwks(self) -> dict[str, Any]:
        if self._rsa is not None:
            numbers = self._rsa.public_key().public_numbers()
            key = {"kty": "RSA", "n": _number(numbers.n, 256), "e": _number(numbers.e, 3)}
        else:
            point = self._ec.public_key().public_numbers()
            key = {"kty": "EC", "crv": "P-384", "x": _number(point.x, 48), "y": _number(point.y, 48)}
        return {"keys": [{**key, "kid": self.kid, "use": "sig", "alg": self.alg}]}

    def token(self, aud: Any, now: datetime, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A statement for an address; ``claims`` and ``header`` replace (None leaves out)."""
        seconds = int(now.timestamp())
        said = {
            "iss": self.iss,
            "aud": aud,
            "exp": seconds + 240,
            "iat": seconds,
            "jti": str(uuid.uuid4()),
            **claims,
        }
        head = {"alg": self.alg, "typ": "JWT", "kid": self.kid, **(header or {})}
        parts = [
            _b64(json.dumps({k: v for k, v in one.items() if v is not None}).encode()) for one in (head, said)
        ]
        return ".".join([*parts, _b64(self._sign(".".join(parts).encode()))])

    def _sign(self, message: bytes) -> bytes:
        if self._rsa is not None:
            return self._rsa.sign(message, padding.PKCS1v15(), hashes.SHA384())
        r, s = decode_dss_signature(self._ec.sign(message, ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48, "big") + s.to_bytes(48, "big")
