"""One protocol at one site, loaded, and the folder its results go to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import httpx
from sqlalchemy import Engine

from adapter import config, protocol
from adapter.errors import ConfigError
from adapter.mappers.terminology import Terminology
from adapter.mappers.terminology.vocabulary import vocabulary_of
from adapter.model.protocol import Protocol, Vocabulary
from adapter.origins import Origins, origin_of
from adapter.source.auth.keys import load_keys
from adapter.source.auth.smart import SmartToken
from adapter.source.auth.token import FileToken, TokenSource
from adapter.source.landing import Landing
from adapter.store import audit
from adapter.store.adopt import adopt
from adapter.store.audit import Entry
from adapter.store.checkpoints import CheckpointFile
from adapter.store.database import open_database, reading

NO_SITE = "none"


class Trial(NamedTuple):
    """One protocol at one site, loaded and checked: what every step needs to know."""

    folder: Path
    mappings: Path
    site: config.Site
    terminology: Terminology
    vocabulary: Vocabulary
    protocol: Protocol


class Workspace(NamedTuple):
    """Where the steps leave their results."""

    root: Path
    embedded: bool = False  # keep to the workspace's own database, whatever the environment names

    @property
    def database(self) -> Path | str:
        """A SQLite file of its own, or the URL that the environment names; see :func:`open_store`."""
        return ("" if self.embedded else config.database_url()) or self.root / "adapter.sqlite"

    @property
    def checkpoints(self) -> Path:
        """Where the audit's checkpoints lie: beside the workspace, or where the environment says."""
        named = "" if self.embedded else os.environ.get("ADAPTER_AUDIT_CHECKPOINTS", "")
        root = self.root.resolve()
        return Path(named) if named else root.with_name(f"{root.name}.audit-checkpoints.ndjson")

    @property
    def landing(self) -> Path:
        return self.root / "landing"

    @property
    def screening(self) -> Path:
        return self.root / "screening"

    @property
    def monitoring(self) -> Path:
        return self.root / "monitoring"

    @property
    def writeback(self) -> Path:
        return self.root / "writeback"

    @property
    def sdtm(self) -> Path:
        return self.root / "exports" / "sdtm"

    def exports(self, profile: str, standard: str) -> Path:
        """The datasets of a standard (``sdtm``, ``adam``); those for research lie apart."""
        folder = self.root / "exports"
        return folder / standard if profile == "sponsor" else folder / profile / standard

    @property
    def snapshots(self) -> Path:
        return self.root / "exports" / "snapshots"

    def lineage_of(self, snapshot: str) -> Path:
        """Where the rows of a snapshot come from; outside of ``exports``, so that nobody sends it along."""
        return self.root / "lineage" / f"{snapshot}.ndjson"


def open_trial(folder: Path | None = None, site: str = "demo", mappings: Path | None = None) -> Trial:
    """Load site, terminology and protocol; raises with file, line and fix if any of them is wrong.

    ``site`` may be "": then no local codes apply and dates are read in the default time zone.
    """
    mappings = mappings or config.product_folder("mappings")
    folder = folder or mappings / "protocols" / "NCT03864250"
    known = config.load_site(mappings, site) if site else config.Site(name="no site", site_id=NO_SITE)
    terminology = Terminology.load(mappings, site or None)
    vocabulary = vocabulary_of(terminology)
    return Trial(
        folder=folder,
        mappings=mappings,
        site=known,
        terminology=terminology,
        vocabulary=vocabulary,
        protocol=protocol.load(folder, vocabulary),
    )


class Standing:
    """A trial for a program that runs on: loaded again when its rules, its mappings or its site change."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._digests = rules_sha256(trial)

    @property
    def held(self) -> Trial:
        """As loaded last."""
        return self._trial

    def trial(self) -> Trial:
        """By the files as they are now; raises :class:`ConfigError` if one of them is wrong."""
        digests = rules_sha256(self._trial)
        if digests != self._digests:
            former = self._trial
            site = former.site.site_id if former.site.site_id != NO_SITE else ""
            self._trial, self._digests = open_trial(former.folder, site, former.mappings), digests
        return self._trial


@contextmanager
def open_store(workspace: Workspace, now: datetime) -> Iterator[Engine]:
    """The workspace's database while the block lasts; files of early versions are taken over first.

    Whatever the block adds to the audit has a checkpoint when it ends, however it ends.
    """
    checkpoints = CheckpointFile(workspace.checkpoints)
    checkpoints.prepare()
    engine = open_database(workspace.database)
    try:
        adopt(engine, (workspace.writeback / "ledger.sqlite", workspace.root / "fhir.sqlite"), now)
        try:
            yield engine
        finally:
            checkpoint(engine, checkpoints, now)
    finally:
        engine.dispose()


def checkpoint(engine: Engine, checkpoints: CheckpointFile, now: datetime) -> None:
    """Write down outside the database where its audit stands."""
    with reading(engine) as connection:
        number, digest = audit.head(connection)
    if number:
        checkpoints.add(number, digest, now)


def note(
    workspace: Workspace, action: str, now: datetime, what: Iterable[str] = (), **detail: object
) -> None:
    """Add a row to the audit for something done to files, by whoever is at work."""
    with open_store(workspace, now) as database:
        noted(database, action, now, what, **detail)


def noted(database: Engine, action: str, now: datetime, what: Iterable[str] = (), **detail: object) -> None:
    """:func:`note` where the database is open."""
    with database.begin() as connection:
        audit.append(connection, Entry(now, audit.actor(), action, tuple(what), detail))


def is_own_server(site: config.Site, base_url: str) -> bool:
    """Whether the URL is of the site's own server: same scheme, host and port."""
    try:
        return origin_of(site.base_url) == origin_of(base_url)
    except ValueError:
        return False


def origins_of(site: config.Site, base_url: str) -> Origins:
    """Where requests for this server may go; what the site lists counts for the site's own server only."""
    return Origins(base_url, site.allowed_origins if is_own_server(site, base_url) else ())


def token_source(trial: Trial, base_url: str) -> TokenSource | None:
    """How to sign in: SMART or the token file at the site's own server; at another one nothing, unless the
    environment names a token file for it. Raises ConfigError for a key that cannot be used."""
    site, own = trial.site, is_own_server(trial.site, base_url)
    if own and site.smart is not None:
        smart = site.smart
        path = os.environ.get("ADAPTER_SMART_KEY_FILE") or smart.key_file
        if not path:
            raise ConfigError(
                "smart names no key",
                where="site.toml, smart.key_file",
                fix="adapter keys new --out FOLDER makes one; name its private-jwks.json",
            )
        keys = load_keys(Path(path), key_id=smart.key_id, algorithm=smart.algorithm)
        return SmartToken(smart, base_url, keys, origins=origins_of(site, base_url), ca_file=site.ca_file)
    file = os.environ.get("ADAPTER_TOKEN_FILE") or (site.token_file if own else "")
    return FileToken(Path(file)) if file else None


def network(trial: Trial, base_url: str) -> httpx.AsyncHTTPTransport:
    """The transport for this server: checked addresses, and the site's own certificate authorities."""
    return origins_of(trial.site, base_url).transport(ca_file=trial.site.ca_file)


def versions_of(trial: Trial, landing: Landing) -> dict[str, str]:
    """What the verdicts depend on besides the people: hashes of rules, mappings, program and landed files.

    ``software_sha256`` is of the modules that turn facts into verdicts: a checkout may change without its
    version.
    """
    return {
        "protocol": f"{trial.protocol.id} {trial.protocol.version}",
        **rules_sha256(trial),
        "software_sha256": software_sha256(),
        "landing_sha256": landing_sha256(landing),
    }


def software_sha256() -> str:
    """Of the modules that turn facts into verdicts."""
    return _digest(Path(__file__).parent, ("model/*.py", "protocol/**/*.py"))


def rules_sha256(trial: Trial) -> dict[str, str]:
    """Hashes of the files that say what counts: the protocol and the mappings, the site's among them."""
    return {
        "protocol_sha256": hashlib.sha256((trial.folder / "protocol.yaml").read_bytes()).hexdigest(),
        "mappings_sha256": _digest(
            trial.mappings, ("*.csv", "*.yaml", "codes/*.csv", f"sites/{trial.site.site_id}/*")
        ),
    }


def landing_sha256(landing: Landing) -> str:
    """One hash of all landed files."""
    files = hashlib.sha256()
    for file in landing.manifest.files:
        files.update(f"{file.name} {file.sha256}\n".encode())
    return files.hexdigest()


def _digest(folder: Path, patterns: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        digest.update(
            f"{path.relative_to(folder).as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()
