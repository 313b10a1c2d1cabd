"""The keys by which the adapter signs in: made, read, and their public halves to register.

A key file holds a private key as PEM, as JWK, or as a JWK Set, newest first. RS384 needs RSA of 2048 bits or
more, ES384 the curve P-384. ``kid`` is the one in the JWK, else the thumbprint of RFC 7638. Private keys are
never printed, logged or named in an error; files made here are readable by their owner alone.

Source: SMART App Launch 2.2, "Registering a SMART Backend Service"; RFC 7517, RFC 7518, RFC 7638.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from adapter.errors import ConfigError

Algorithm = Literal["RS384", "ES384"]
PRIVATE, PUBLIC = "private-jwks.json", "jwks.json"
_RSA_BITS = 2048
_NEW_RSA_BITS = 3072  # NIST SP 800-57: as strong as SHA-256; 2048 is only for keys that are there already


class SigningKey(NamedTuple):
    """One private key, ready to sign."""

    key: RSAKey | ECKey
    algorithm: Algorithm
    kid: str

    def __repr__(self) -> str:
        return f"SigningKey({self.algorithm}, {self.kid})"

    def public(self) -> dict[str, Any]:
        """The public half as it stands in a JWK Set."""
        known: Mapping[str, Any] = {**self.key.as_dict(private=False)}
        kept = {name: known[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in known}
        return {**kept, "kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}

    def private(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=True), "kid": self.kid, "alg": self.algorithm}


def load_keys(path: Path, *, key_id: str = "", algorithm: str = "") -> list[SigningKey]:
    """The private keys of a file, in its order; with ``key_id`` that one alone (a PEM takes it as its name).

    Raises ConfigError naming the file and what is wrong with it, never what stands in it.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        fix = "adapter keys new --out FOLDER makes one; the adapter's user must be able to read it"
        raise ConfigError(f"the key cannot be read ({fault.strerror})", where=str(path), fix=fix) from None
    if b"-----BEGIN" in data:
        found = [_checked(data, {}, path, key_id)]
    else:
        found = [_checked(one, one, path, "") for one in _jwks(data, path)]
        if key_id:
            found = [key for key in found if key.kid == key_id]
            if not found:
                raise ConfigError(
                    f"no key with the id {key_id!r}", where=str(path), fix="correct smart.key_id"
                )
    if algorithm:
        found = [key for key in found if key.algorithm == algorithm]
        if not found:
            fix = "RS384 needs an RSA key, ES384 one of P-384; or leave smart.algorithm out"
            raise ConfigError(f"no key for {algorithm!r}", where=str(path), fix=fix)
    return found


def public_set(keys: Iterable[SigningKey]) -> dict[str, Any]:
    """The JWK Set to register with the hospital."""
    return {"keys": [key.public() for key in keys]}


def new_key(algorithm: Algorithm) -> SigningKey:
    """A key named by its thumbprint, which never looks like an option of a command."""
    while True:
        key: RSAKey | ECKey = (
            RSAKey.generate_key(_NEW_RSA_BITS) if algorithm == "RS384" else ECKey.generate_key("P-384")
        )
        if not key.thumbprint().startswith("-"):
            return SigningKey(key, algorithm, key.thumbprint())


def add_key(folder: Path, algorithm: Algorithm) -> SigningKey:
    """Make a key and put it first in the folder's private and public sets, keeping older ones (rotation)."""
    made = new_key(algorithm)
    _keep(folder, [made, *keys_in(folder)])
    return made


def keys_in(folder: Path) -> list[SigningKey]:
    """The folder's keys, newest first; none where there is no folder yet."""
    private = folder / PRIVATE
    return load_keys(private) if private.exists() else []


def retire_key(folder: Path, kid: str, *, dry_run: bool = False) -> list[SigningKey]:
    """Take one key out of the folder's sets; what is left. ConfigError if it is not there, or the last.
    ``dry_run`` writes nothing."""
    keys = load_keys(folder / PRIVATE)
    left = [key for key in keys if key.kid != kid]
    if len(left) == len(keys) or not left:
        what = "the only key is kept" if left != keys else f"no key with the id {kid!r}"
        raise ConfigError(
            what, where=str(folder / PRIVATE), fix="adapter keys list --out FOLDER shows the ids"
        )
    if not dry_run:
        _keep(folder, left)
    return left


def is_private_file(path: Path) -> bool:
    """Whether only its owner can read the file."""
    return path.stat().st_mode & 0o077 == 0


def _jwks(data: bytes, path: Path) -> list[dict[str, Any]]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    keys = value.get("keys", [value]) if isinstance(value, dict) else []
    if not keys or not all(isinstance(one, dict) for one in keys):
        raise ConfigError(
            "neither PEM nor JWK", where=str(path), fix="adapter keys new --out FOLDER makes one"
        )
    return list(keys)


def _checked(value: bytes | dict[str, Any], described: dict[str, Any], path: Path, kid: str) -> SigningKey:
    def wrong(what: str, fix: str = "adapter keys new --out FOLDER makes one") -> ConfigError:
        return ConfigError(what, where=str(path), fix=fix)

    if isinstance(value, bytes) and re.search(rb"ENCRYPTED", value):
        raise wrong(
            "the key is locked with a password", "store it without one, readable by the adapter alone"
        )
    key = _imported(value)
    if key is None:
        raise wrong("no RSA or EC key can be read")
    if not key.is_private:
        raise wrong("this is the public half", "smart.key_file names the private key")
    algorithm: Algorithm
    if isinstance(key, RSAKey):
        algorithm = "RS384"
        if key.raw_value.key_size < _RSA_BITS:
            raise wrong(f"an RSA key of {key.raw_value.key_size} bits; {_RSA_BITS} is the least")
    else:
        algorithm = "ES384"
        if key.raw_value.curve.name != "secp384r1":
            raise wrong(f"a key of the curve {key.raw_value.curve.name}; ES384 needs P-384")
    said = described.get("alg", algorithm)
    if said != algorithm:
        raise wrong(f"a key for {said}; SMART asks for RS384 or ES384")
    return SigningKey(key, algorithm, kid or str(described.get("kid") or key.thumbprint()))


def _imported(value: bytes | dict[str, Any]) -> RSAKey | ECKey | None:
    for kind in (RSAKey, ECKey):
        try:
            return kind.import_key(value)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return None


def _keep(folder: Path, keys: list[SigningKey]) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(folder / PRIVATE, {"keys": [key.private() for key in keys]}, 0o600)
    _replace(folder / PUBLIC, public_set(keys), 0o644)


def _replace(path: Path, value: dict[str, Any], mode: int) -> None:
    """Whole or not at all, and at no moment readable by others."""
    half = path.with_name(path.name + ".new")
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as out:
        json.dump(value, out, indent=2)
        out.write("\n")
        out.flush()
        os.fsync(out.fileno())
    half.replace(path)
