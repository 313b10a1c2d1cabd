"""Passwords of local accounts: argon2id, and the same work whether or not there is an account.

Source: RFC 9106 (second recommended set: 64 MiB, 3 passes); NIST SP 800-63B-4, 3.1.1.2 (15 characters where
a password is the only factor, at least 64 possible, normalised Unicode, no rules about kinds of characters).
"""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from adapter.errors import ConfigError

SHORTEST, LONGEST = 15, 512
_HASHER = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)
_AT_ONCE = threading.BoundedSemaphore(2)  # 64 MiB each: more would let strangers fill the memory


def check_password(password: str, account: str, name: str = "") -> None:
    """Raises :class:`ConfigError` for one that is too short, too long, or made of the account's own name."""
    plain = _normal(password)
    fix = f"{SHORTEST} to {LONGEST} characters, such as four words that do not belong together"
    if not SHORTEST <= len(plain) <= LONGEST:
        raise ConfigError(f"the password has {len(plain)} characters", where="password", fix=fix)
    folded = plain.casefold()
    own = {account.casefold(), *name.casefold().split()}
    left = folded
    for word in sorted((one for one in own if len(one) > 2), key=len, reverse=True):
        left = left.replace(word, "")
    if len(set(folded)) < 6 or len(left) < 8:
        raise ConfigError("the password is easy to guess", where="password", fix=fix)


def hash_password(password: str) -> str:
    """What is kept: an argon2id string with its parameters and salt."""
    with _AT_ONCE:
        return _HASHER.hash(_normal(password))


def is_password(password: str, kept: str | None) -> bool:
    """Whether the password is the one kept. Without one (None) as much is computed, and it is not."""
    with _AT_ONCE:
        try:
            return _HASHER.verify(kept or _nobodys(), _normal(password)[:LONGEST]) and bool(kept)
        except (VerificationError, InvalidHashError):
            return False


@cache
def _nobodys() -> str:
    return _HASHER.hash("the password of nobody")


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)
