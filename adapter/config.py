"""What one hospital is called, where it is, and how it wants to be spoken to.

A site is a folder under ``mappings/sites/``; its ``site.toml`` is read here. Secrets never stand in
the file: ``token_file`` (or the environment variable ``ADAPTER_TOKEN_FILE``) names a file that holds
the bearer token, ``pseudonym_key_file`` (``ADAPTER_PSEUDONYM_KEY_FILE``) one that holds the site's key,
``smart.key_file`` (``ADAPTER_SMART_KEY_FILE``) one with the private key of SMART Backend Services.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from adapter.errors import ConfigError


class Smart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[smart]``: how the adapter proves itself to the hospital's authorisation server.

    ``token_url`` and ``algorithm`` (RS384 or ES384) may stay empty: the first is then read from
    ``.well-known/smart-configuration``, the second follows from the key. ``scopes`` are asked for as written.
    Source: SMART App Launch 2.2, Backend Services.
    """

    client_id: str
    key_file: str = ""
    key_id: str = ""
    token_url: str = ""
    algorithm: str = ""
    scopes: tuple[str, ...] = ("system/*.rs",)


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[subscriptions.NAME]``: one subscription of the hospital, and how its messages prove themselves.

    ``header_file`` holds the whole Authorization header that the Subscription is registered with,
    ``hmac_file`` the key by which bodies are signed (X-Signature). At least one is needed; both may be asked.
    """

    header_file: str = ""
    hmac_file: str = ""

    def secrets(self, name: str) -> tuple[bytes, bytes]:
        """Header and key, b"" where none is asked for; raises :class:`ConfigError` if nothing is."""
        where = f"[subscriptions.{name}]"
        if not (self.header_file or self.hmac_file):
            raise ConfigError(
                "anybody could write to this channel",
                where=where,
                fix="name a header_file, a hmac_file, or both",
            )
        return _secret_in(self.header_file, where), _secret_in(self.hmac_file, where)


class RoleClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[[sign_in.openid.roles]]``: whoever has ``value`` in the provider's claim has this role in this
    study, at this site; ``until`` (an instant with zone) where the role needs an end."""

    value: str
    role: str
    study: str
    until: str = ""


class OpenId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[sign_in.openid]``: the hospital's identity provider (OpenID Connect, authorization code with PKCE).

    ``issuer`` is compared to the letter with what the provider says of itself; its addresses are read from
    ``.well-known/openid-configuration``. ``claim`` names where roles stand in the ID token, with dots for
    what lies deeper (``realm_access.roles``). ``allowed_origins`` lists further servers of the provider
    with private addresses. A client without ``client_secret_file`` is a public one.
    """

    issuer: str
    client_id: str
    roles: tuple[RoleClaim, ...] = ()
    client_secret_file: str = ""
    shown_as: str = ""
    claim: str = "groups"
    scopes: tuple[str, ...] = ("openid", "profile")
    allowed_origins: tuple[str, ...] = ()
    ca_file: str = ""

    def secret(self) -> bytes:
        """b"" for a public client; raises :class:`ConfigError` for a file that cannot be read."""
        return _secret_in(self.client_secret_file, "[sign_in.openid]")


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[sign_in]``: ``public_url`` is where browsers find the pages (https, but for loopback)."""

    public_url: str = ""
    idle_minutes: int = 15
    longest_hours: int = 12
    local_accounts: bool = True
    openid: OpenId | None = None


class HookClient(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[hooks.clients.NAME]``: one system that may call our CDS services.

    ``iss`` is what it calls itself in its tokens. Its public keys are at ``jwks_url``, or in ``jwks_file``.
    Source: CDS Hooks 2.0, "Trusting CDS Clients".
    """

    iss: str
    jwks_url: str = ""
    jwks_file: str = ""


class Hooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[hooks]``: CDS Hooks. ``public_url`` is how callers spell our address (tokens are made for it),
    ``language`` that of the cards where a caller asks for none, ``workers`` how many processes judge
    patients beside this one (0: none; a process for each core that may be spared)."""

    public_url: str
    clients: dict[str, HookClient]
    language: Literal["en", "zh"] = "zh"
    workers: int = 0


class Launch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[launch.NAME]``: one system that opens a patient's page by SMART App Launch.

    ``iss`` is its FHIR base URL, compared to the letter. Whoever launches gets ``role`` for the one patient.
    Without ``client_secret_file`` we are a public client. ``id_token`` says whether a person's identity must
    be proven by one; ``allowed_origins`` lists further servers of the system with private addresses.
    Source: SMART App Launch 2.2.
    """

    iss: str
    client_id: str
    role: str = "coordinator"
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ("launch", "openid", "fhirUser")
    id_token: bool = True
    allowed_origins: tuple[str, ...] = ()
    ca_file: str = ""

    def secret(self, name: str) -> bytes:
        """b"" for a public client; raises :class:`ConfigError` for a file that cannot be read."""
        return _secret_in(self.client_secret_file, f"[launch.{name}]")


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[digest]``: who gets a mail of counts after each round (``adapter run``), by which server.

    ``page`` is the address of the worklist that the mail names. Nothing is sent after a round that changed
    nothing and left nothing to do, unless ``always``.
    """

    to: tuple[str, ...]
    sender: str
    host: str
    port: int = 587
    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    page: str = ""
    language: Literal["en", "zh"] = "zh"
    always: bool = False

    def password(self) -> str:
        return _secret_in(self.password_file, "[digest]").decode()


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``site.toml``.

    ``dialect`` names a server's make in :mod:`adapter.source.dialects` ("" asks ``/metadata``),
    ``bulk_group`` the Group to export ("" exports all patients), ``rungs`` the ways of write-back this site
    allows, best first (none named: what ``/metadata`` allows), ``approval`` whether a person approves each
    write before it is sent. ``systems`` names the site's own code and identifier systems.
    ``allowed_origins`` lists further servers the hospital runs (for files of an export, for tokens):
    requests and tokens may go there as to ``base_url``, see :mod:`adapter.origins`. ``ca_file`` holds
    certificate authorities of the hospital's own (PEM).
    """

    name: str
    site_id: str
    time_zone: str = "Asia/Shanghai"
    country: str = "CHN"
    base_url: str = ""
    allowed_origins: tuple[str, ...] = ()
    ca_file: str = ""
    token_file: str = ""
    pseudonym_key_file: str = ""
    dialect: str = ""
    smart: Smart | None = None
    bulk_group: str = ""
    rungs: tuple[str, ...] = ()
    approval: bool = False
    subscriptions: dict[str, Channel] = {}
    sign_in: SignIn = SignIn()
    hooks: Hooks | None = None
    launch: dict[str, Launch] = {}
    digest: Digest | None = None
    systems: dict[str, str] = {}
    laboratories: dict[str, str] = {}
    options: dict[str, bool] = {}

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def secret(self, name: str) -> bytes | None:
        """The content of ``<name>_file`` from the environment or ``site.toml``; None if not configured."""
        path = os.environ.get(f"ADAPTER_{name.upper()}_FILE") or getattr(self, f"{name}_file")
        if not path:
            return None
        try:
            return Path(path).read_bytes().strip()
        except OSError as fault:
            raise ConfigError(
                f"the file for {name} cannot be read ({fault.strerror})",
                where=str(path),
                fix=f"create it, readable by this user only, or unset ADAPTER_{name.upper()}_FILE",
            ) from fault


def database_url() -> str:
    """The database of production: ``ADAPTER_DATABASE_URL``, or what the file ``ADAPTER_DATABASE_URL_FILE``
    holds; "" if neither is set. Raises :class:`ConfigError` rather than fall back to another database."""
    url, path = os.environ.get("ADAPTER_DATABASE_URL"), os.environ.get("ADAPTER_DATABASE_URL_FILE")
    if url is None and path is None:
        return ""
    if url is not None and path is not None:
        raise ConfigError(
            "the database is named twice",
            where="ADAPTER_DATABASE_URL, ADAPTER_DATABASE_URL_FILE",
            fix="set one of the two",
        )
    where = "ADAPTER_DATABASE_URL" if path is None else "ADAPTER_DATABASE_URL_FILE"
    if path is not None:
        try:
            url = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as fault:
            raise ConfigError(
                "the file with the database's address cannot be read",
                where=f"{where} {path}",
                fix="create it, readable by this user only, with one line postgresql://...",
            ) from fault
    if not url or "://" not in url:
        raise ConfigError(
            "this is no address of a database",
            where=where,
            fix="write postgresql://user:password@host/database, or unset it to use the workspace's own file",
        )
    return url


def _secret_in(path: str, where: str) -> bytes:
    if not path:
        return b""
    try:
        found = Path(path).read_bytes().strip()
    except OSError as fault:
        raise ConfigError(
            f"a secret cannot be read ({fault.strerror})",
            where=f"{where} {path}",
            fix="create the file, readable by this user only",
        ) from fault
    if len(found) < 16:
        raise ConfigError(
            "a secret this short can be guessed", where=f"{where} {path}", fix="use 16 bytes or more"
        )
    return found


def load_site(mappings: Path, site: str) -> Site:
    """Read ``sites/<site>/site.toml``; raises :class:`ConfigError` naming the file and the mistake."""
    path = mappings / "sites" / site / "site.toml"
    try:
        loaded = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Site)
        ZoneInfo(loaded.time_zone)
    except FileNotFoundError as fault:
        known = ", ".join(sorted(folder.name for folder in (mappings / "sites").glob("*/"))) or "none"
        raise ConfigError(f"no site {site!r}", where=str(path), fix=f"known sites: {known}") from fault
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as fault:
        raise ConfigError(str(fault), where=str(path), fix="see mappings/README.md, site.toml") from fault
    except ZoneInfoNotFoundError as fault:
        raise ConfigError(
            f"no time zone {loaded.time_zone!r}",
            where=str(path),
            fix="use an IANA name, such as Asia/Shanghai",
        ) from fault
    return loaded


def product_folder(name: str) -> Path:
    """``mappings`` or ``fhir_profiles``: what ``ADAPTER_MAPPINGS`` or ``ADAPTER_FHIR_PROFILES`` names, or the
    one beside the checkout or in the wheel, where an installed program often may not write."""
    if named := os.environ.get(f"ADAPTER_{name.upper()}"):
        if Path(named).is_dir():
            return Path(named)
        raise ConfigError(
            "no such folder", where=f"ADAPTER_{name.upper()}", fix="name the copy of the folder"
        )
    here = Path(__file__).resolve().parent
    for candidate in (here.parent / name, here / "_data" / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"the folder {name!r} is missing", where=str(here), fix="reinstall, or pass --mappings")
