"""Signing in and out, at this place or at the hospital's identity provider, and signing a record."""

from adapter.web.signin.desk import Desk
from adapter.web.signin.routes import answer_not_proven, router
from adapter.web.signin.signing import Signature, sha256_of, sign

__all__ = ["Desk", "Signature", "answer_not_proven", "router", "sha256_of", "sign"]
