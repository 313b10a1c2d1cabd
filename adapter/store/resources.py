"""FHIR resources the adapter serves itself: every version kept, one writer at a time, all or nothing.

Bodies are kept as the JSON that came, with ``id`` and ``meta`` set by the server. What a resource is found
under (:mod:`adapter.store.parameters`) are rows of their own, so a search never reads bodies it does not
return.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, Engine, Integer, LargeBinary, String, Table, delete, insert, select

from adapter.store import audit
from adapter.store.chain import Link
from adapter.store.database import only_writer, open_database, reading
from adapter.store.parameters import INDEX, keys_of
from adapter.store.tables import TABLES

Json = dict[str, Any]

_VERSION = Table(
    "resource_version",
    TABLES,
    Column("type", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),
)
_CURRENT = Table(
    "resource_current",
    TABLES,
    Column("type", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("version", Integer, nullable=False),
)
_KEY = Table(
    "resource_key",
    TABLES,
    Column("type", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", String, primary_key=True, index=True),
)
OWN = (_VERSION, _CURRENT, _KEY)
_MARK = (_KEY.c.type == "", _KEY.c.id == "", _KEY.c.name == "index")  # by which table all was indexed
# An entry of PostgreSQL's index holds 2,700 bytes, its text no NUL: what does not fit is known by its hash.
_LONGEST_KEY = 500
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class VersionConflict(Exception):
    """The version that a write is based on is not the current one; ``current`` is 0 if there is none."""

    def __init__(self, reference: str, current: int) -> None:
        super().__init__(f"{reference} is in version {current}")
        self.current = current


class ResourceStore:
    """Resources in a database already open or at a path. Writes happen inside :meth:`transaction`."""

    def __init__(self, database: Engine | Path) -> None:
        self._own = not isinstance(database, Engine)
        self._engine = database if isinstance(database, Engine) else open_database(database)

    def close(self) -> None:
        if self._own:
            self._engine.dispose()

    def index(self) -> None:
        """Index every resource anew if it was done by another table of search parameters than this version's.
        Until then a search by a parameter that is new here would find none of them."""
        if self._indexed() == INDEX:
            return
        with self.transaction() as shelf:
            shelf.index_all()

    def _indexed(self) -> str:
        with reading(self._engine) as connection:
            return str(connection.execute(select(_KEY.c.value).where(*_MARK)).scalar() or "")

    @contextmanager
    def transaction(self) -> Iterator[Shelf]:
        """Everything done on the shelf is kept at the end, or nothing if an exception leaves the block."""
        with self._engine.begin() as connection:
            only_writer(connection, "resources")
            yield Shelf(connection)

    @contextmanager
    def view(self) -> Iterator[Shelf]:
        """A shelf to read from, as it stands now; writers are not held up."""
        with reading(self._engine) as connection:
            yield Shelf(connection)


class Shelf:
    """The resources within one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._at = connection

    @property
    def connection(self) -> Connection:
        """The transaction itself, for who writes more than resources in it (a row of the audit)."""
        return self._at

    def current_version(self, resource_type: str, key: str) -> int:
        """0 if there is none."""
        query = select(_CURRENT.c.version).where(_CURRENT.c.type == resource_type, _CURRENT.c.id == key)
        return self._at.execute(query).scalar() or 0

    def read(self, resource_type: str, key: str, version: int | None = None) -> Json | None:
        wanted = self.current_version(resource_type, key) if version is None else version
        query = select(_VERSION.c.body).where(
            _VERSION.c.type == resource_type, _VERSION.c.id == key, _VERSION.c.version == wanted
        )
        body = self._at.execute(query).scalar()
        return None if body is None else _DECODER.decode(body)

    def write(
        self,
        resource: Json,
        keys: Mapping[str, set[str]],
        now: datetime,
        *,
        based_on: int | None = None,
        only_new: bool = False,
    ) -> Json:
        """Store a new version and return it as stored. The same content again makes no new version.

        It is found under ``keys`` too, besides what its own elements say. Raises :class:`VersionConflict` if
        ``based_on`` is not the current version, or if ``only_new`` and there is one.
        """
        kind, key = resource["resourceType"], resource["id"]
        version = self.current_version(kind, key)
        if (based_on is not None and based_on != version) or (only_new and version):
            raise VersionConflict(f"{kind}/{key}", version)
        if version:
            held = self.read(kind, key, version)
            if held is not None and _content(held) == _content(resource):
                return held
        stamped = {"versionId": str(version + 1), "lastUpdated": now.isoformat(timespec="milliseconds")}
        stored = {**resource, "meta": {**resource.get("meta", {}), **stamped}}
        body = _ENCODER.encode(stored)
        self._at.execute(insert(_VERSION).values(type=kind, id=key, version=version + 1, body=body))
        self._at.execute(delete(_CURRENT).where(_CURRENT.c.type == kind, _CURRENT.c.id == key))
        self._at.execute(insert(_CURRENT).values(type=kind, id=key, version=version + 1))
        own = keys_of(stored)
        self._found_under(
            kind, key, {name: own.get(name, set()) | set(keys.get(name, ())) for name in {*own, *keys}}
        )
        return stored

    def search(self, resource_type: str, wanted: Mapping[str, set[str]]) -> list[Json]:
        """All resources that have, for every parameter, one of its values; by id."""
        values = ((name, frozenset(some)) for name, some in wanted.items())
        # sorted here: a database's own order is that of its locale
        found = sorted(self.matching(resource_type, values).items())
        bodies = (self.read(resource_type, key, version) for key, version in found)
        return [body for body in bodies if body is not None]

    def all(self, resource_type: str) -> list[Json]:
        """Everything of a type, by id."""
        return self.search(resource_type, {})

    def matching(self, kind: str, values: Iterable[tuple[str, frozenset[str]]]) -> dict[str, int]:
        """Current version by id of the resources that have, of each parameter, one of the values."""
        query = select(_CURRENT.c.id, _CURRENT.c.version).where(_CURRENT.c.type == kind)
        for name, some in values:
            if name == "_id":
                query = query.where(_CURRENT.c.id.in_(sorted(_plain(one) for one in some)))
                continue
            under = select(_KEY.c.id).where(
                _KEY.c.type == kind,
                _KEY.c.name == name,
                _KEY.c.value.in_(sorted({_key(one) for one in some})),
            )
            query = query.where(_CURRENT.c.id.in_(under))
        return {row.id: row.version for row in self._at.execute(query)}

    def values(self, kind: str, name: str) -> dict[str, frozenset[str]]:
        """What every resource of a type is found under by one parameter."""
        query = select(_KEY.c.id, _KEY.c.value).where(_KEY.c.type == kind, _KEY.c.name == name)
        found: dict[str, set[str]] = {}
        for row in self._at.execute(query):
            found.setdefault(row.id, set()).add(row.value)
        return {key: frozenset(some) for key, some in found.items()}

    def audit(self) -> Iterator[Link]:
        """The rows of the audit, as this view of the database has them."""
        return audit.links(self._at)

    def index_all(self) -> None:
        """Write the keys of every current resource anew."""
        for row in self._at.execute(select(_CURRENT)).all():
            resource = self.read(row.type, row.id, row.version)
            if resource is not None and "resourceType" in resource:
                self._found_under(row.type, row.id, keys_of(resource))
        self._at.execute(delete(_KEY).where(*_MARK))
        self._at.execute(insert(_KEY).values(type="", id="", name="index", value=INDEX))

    def _found_under(self, kind: str, key: str, keys: Mapping[str, set[str]]) -> None:
        self._at.execute(delete(_KEY).where(_KEY.c.type == kind, _KEY.c.id == key))
        rows = [
            {"type": kind, "id": key, "name": name, "value": value}
            for name in sorted(keys)
            for value in sorted({_key(one) for one in keys[name]})
        ]
        if rows:
            self._at.execute(insert(_KEY), rows)


def _key(value: str) -> str:
    if len(value) <= _LONGEST_KEY and "\0" not in value:
        return value
    return "sha256 " + hashlib.sha256(value.encode()).hexdigest()


def _plain(value: str) -> str:
    """An id to look for: a NUL, which PostgreSQL cannot even be asked about, is in none."""
    return value.replace("\0", "\ufffd")


def _content(resource: Json) -> bytes:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    return msgspec.json.encode({**resource, "meta": meta}, order="deterministic")
