"""What people write on the worklist: notes and decisions about a person, and views of the list they keep.

Notes are only ever added; one that corrects another names it. Each is in the audit with a hash of its words,
in the same transaction, so that a changed word would show. Nothing is said of anybody but by Patient.id.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime
from typing import Literal, get_args

import msgspec
from sqlalchemy import Column, Engine, Integer, String, Table, delete, insert, select

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import only_writer, reading
from adapter.store.tables import TABLES

Stand = Literal["", "approach", "deferred", "declined", "not_suitable", "enrolled_elsewhere", "reopened"]
STANDS: tuple[Stand, ...] = get_args(Stand)
LONGEST = 4000

_NOTE = Table(
    "worklist_note",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("study", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("stand", String, nullable=False),
    Column("words", String, nullable=False),
    Column("corrects", Integer, nullable=False),
    Column("who", String, nullable=False),
    Column("at", String, nullable=False),
)
_VIEW = Table(
    "worklist_view",
    TABLES,
    Column("account", String, primary_key=True),
    Column("study", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("query", String, nullable=False),
)
_SECRET = Table(
    "worklist_secret",
    TABLES,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)


class Note(msgspec.Struct, frozen=True):
    """A note, or (``stand`` not empty) a decision on how the team goes on with a person, and why.

    ``corrects`` is the number of the note this one takes the place of, 0 if of none.
    """

    number: int
    study: str
    subject: str
    stand: Stand
    words: str
    corrects: int
    who: str
    at: str


class View(msgspec.Struct, frozen=True):
    """A kept view: what it is called, and the query of its address."""

    name: str
    query: str


class Casebook:
    """Notes, decisions and views of one study."""

    def __init__(self, engine: Engine, study: str) -> None:
        self._engine = engine
        self._study = study

    def write(
        self, subject: str, words: str, who: str, now: datetime, *, stand: Stand = "", corrects: int = 0
    ) -> Note:
        """Add a note. Raises :class:`ConfigError` for one without words or over :data:`LONGEST` characters,
        and :class:`NotFound` if it corrects none of this person's."""
        told = words.strip()
        if not told or len(told) > LONGEST:
            raise ConfigError(
                "a note needs words, and not too many", where="note", fix=f"write 1 to {LONGEST} characters"
            )
        if stand not in STANDS:
            raise ConfigError(
                "no such decision", where="note", fix=f"one of {', '.join(filter(None, STANDS))}"
            )
        if corrects and corrects not in {one.number for one in self.notes(subject)}:
            raise NotFound("there is no such note about this person", where="note", fix="load the page again")
        fields = {
            "study": self._study,
            "subject": subject,
            "stand": stand,
            "words": told,
            "corrects": corrects,
            "who": who,
            "at": now.isoformat(),
        }
        with self._engine.begin() as connection:
            made = connection.execute(insert(_NOTE).values(**fields))
            number = made.inserted_primary_key[0] if made.inserted_primary_key else 0
            digest = hashlib.sha256(told.encode()).hexdigest()
            detail = {"stand": stand, "corrects": corrects, "words_sha256": digest}
            what = (f"note/{number}", f"Patient/{subject}")
            audit.append(connection, Entry(now, who, "note", what, detail))
        return msgspec.convert({"number": number, **fields}, Note)

    def notes(self, subject: str) -> tuple[Note, ...]:
        """Everything written about a person, oldest first."""
        query = select(_NOTE).where(_NOTE.c.study == self._study, _NOTE.c.subject == subject)
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(_NOTE.c.number)).mappings()
            return tuple(msgspec.convert({str(k): v for k, v in row.items()}, Note) for row in rows)

    def stands(self, subjects: Collection[str]) -> dict[str, Stand]:
        """The latest decision about each of these people, where there is one."""
        query = select(_NOTE.c.subject, _NOTE.c.stand).where(
            _NOTE.c.study == self._study, _NOTE.c.stand != "", _NOTE.c.subject.in_(subjects)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(query.order_by(_NOTE.c.number)).all()
        latest = {row.subject: row.stand for row in rows}
        return {subject: stand for subject, stand in latest.items() if stand != "reopened"}

    def keep_view(self, account: str, name: str, query: str) -> None:
        """Keep a view under a name of the account's own; the same name again replaces it."""
        called = " ".join(name.split())
        if not called or len(called) > 80:
            raise ConfigError("a view needs a name", where="view", fix="write 1 to 80 characters")
        mine = (_VIEW.c.account == account, _VIEW.c.study == self._study, _VIEW.c.name == called)
        with self._engine.begin() as connection:
            only_writer(connection, "worklist_view")
            connection.execute(delete(_VIEW).where(*mine))
            row = {"account": account, "study": self._study, "name": called, "query": query[:2000]}
            connection.execute(insert(_VIEW).values(**row))

    def drop_view(self, account: str, name: str) -> None:
        mine = (_VIEW.c.account == account, _VIEW.c.study == self._study, _VIEW.c.name == name)
        with self._engine.begin() as connection:
            connection.execute(delete(_VIEW).where(*mine))

    def views(self, account: str) -> tuple[View, ...]:
        """The account's own views, by name."""
        query = select(_VIEW.c.name, _VIEW.c.query).where(
            _VIEW.c.account == account, _VIEW.c.study == self._study
        )
        with reading(self._engine) as connection:
            return tuple(sorted((View(*row) for row in connection.execute(query)), key=lambda one: one.name))


def secret(engine: Engine, name: str) -> bytes:
    """A random key of this workspace, made when it is first asked for."""
    wanted = select(_SECRET.c.value).where(_SECRET.c.name == name)
    with reading(engine) as connection:
        found = connection.execute(wanted).scalar()
    if found is None:
        with engine.begin() as connection:
            only_writer(connection, "worklist_secret")
            found = connection.execute(wanted).scalar()
            if found is None:
                found = secrets.token_hex(32)
                connection.execute(insert(_SECRET).values(name=name, value=found))
    return bytes.fromhex(str(found))
