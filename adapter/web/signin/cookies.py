"""The two cookies: a session's number, and the browser's own during a sign-in. And the CSRF tokens they give.

Neither holds more than a random number. Over https both carry ``__Host-``: no other host can set them, no
part of the site sees less of them. A token is an HMAC of the number, so it need not be kept and does not give
the number away. Source: RFC 6265bis, 4.1.3; OWASP CSRF Prevention (HMAC based token).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request, Response

Name = Literal["session", "visit"]
FIELD, HEADER = "csrf", "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_NUMBER = re.compile(r"[A-Za-z0-9_-]{43}")


def cookie_name(name: Name, secure: bool) -> str:
    return f"__Host-{name}" if secure else name


def number_in(request: Request, name: Name, secure: bool) -> str:
    """The number that a browser brings, "" if none or nothing of ours."""
    found = request.cookies.get(cookie_name(name, secure), "")
    return found if _NUMBER.fullmatch(found) else ""


def give(answer: Response, name: Name, number: str, secure: bool) -> None:
    """Until the browser closes; SameSite=Lax, since who comes back from an identity provider needs it."""
    answer.set_cookie(
        cookie_name(name, secure), number, path="/", secure=secure, httponly=True, samesite="lax"
    )


def take(answer: Response, name: Name, secure: bool) -> None:
    answer.delete_cookie(cookie_name(name, secure), path="/", secure=secure, httponly=True, samesite="lax")


def csrf_token(number: str) -> str:
    """The token that belongs to a cookie's number; "" for none."""
    return hmac.new(number.encode(), b"csrf", hashlib.sha256).hexdigest() if number else ""


async def comes_from_us(request: Request, number: str, public_origin: str) -> bool:
    """Whether an unsafe request was sent by a page of ours: Origin and token are both right.

    Browsers send Origin with every such request; where it is missing, Sec-Fetch-Site has to say same-origin.
    """
    expected = csrf_token(number)
    if not expected or not _is_own_origin(request, public_origin):
        return False
    given = request.headers.get(HEADER, "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not given and kind in ("application/x-www-form-urlencoded", "multipart/form-data"):
        field = (await request.form(max_files=0)).get(FIELD, "")
        given = field if isinstance(field, str) else ""
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_own_origin(request: Request, public_origin: str) -> bool:
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site") == "same-origin"
    if public_origin:
        return origin == public_origin
    told = urlsplit(origin)
    return told.scheme == request.url.scheme and told.netloc == request.headers.get("host", "")
