"""Tells a hospital, on the best rung that it takes, person by person.

The rungs are tried in order; whom a rung cannot serve the next one tells, and receipts name the one that did.
Public: :func:`write_back` for a screening, :func:`write_flags` for a monitoring, :class:`Ladder` for what a
site allows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import Engine

from adapter.errors import SourceRefused, WriteRefused
from adapter.model.decision import Decision
from adapter.model.monitoring import Monitoring
from adapter.store.database import open_database
from adapter.store.lease import Clock, Holder, Leases, this_process
from adapter.store.ledger import Ledger
from adapter.store.outbox import Outbox
from adapter.writeback.capabilities import Capabilities, capabilities_of
from adapter.writeback.carry import At, ServerCarrier
from adapter.writeback.courier import Courier, Delivery, Progress, closes
from adapter.writeback.file import FileCarrier
from adapter.writeback.journal import Journal
from adapter.writeback.monitoring_flag import ProtocolLine
from adapter.writeback.plan import SubjectPlan
from adapter.writeback.planners import Followed, News, Screened, on_file, on_server
from adapter.writeback.report import WriteReport, joined
from adapter.writeback.research_study import StudyReference
from adapter.writeback.rungs import Way, check_names, choose
from adapter.writeback.server import PATIENCE, Patience, Server, Token

__all__ = ["Ladder", "Progress", "WriteReport", "joined", "ways_of", "write_back", "write_flags"]

OWN_BASE = "http://127.0.0.1/fhir"  # never leaves the process
FIRST = Way("ResearchSubject")


def _unheard(_: str) -> None:
    return None


@dataclass(frozen=True)
class Ladder:
    """How a site may be told.

    ``rungs`` are the ways in the site's own order, none for what ``/metadata`` offers; None for the first
    alone, without asking. ``approval``: a person allows each content first. ``own`` is the transport into
    our own endpoint (rung ``own``), ``folder`` where files go (rung ``file``). ``at`` is told every step
    (:data:`adapter.writeback.courier.STEPS`). ``patience`` is how long to wait for the server.
    """

    rungs: Sequence[str] | None = None
    approval: bool = False
    own: httpx.AsyncBaseTransport | None = None
    folder: Path | None = None
    at: At = _unheard
    clock: Clock = lambda: datetime.now(UTC)
    holder: Holder | None = None
    patience: Patience = PATIENCE


async def write_back(
    base_url: str,
    decisions: Iterable[Decision],
    *,
    study: StudyReference,
    database: Engine | Path,
    now: datetime,
    token: Token | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    aliases: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    ladder: Ladder | None = None,
) -> WriteReport:
    """Write the decisions to the FHIR server at ``base_url``; ``now`` must carry a zone.

    ``token`` gives the bearer token, ``progress`` is told (done, total) subjects, ``aliases`` maps merged
    Patient ids to survivors, ``transport`` replaces the network (``httpx.ASGITransport(app)`` writes into an
    embedded endpoint). Raises what reading raises before anything was written: :class:`SourceRefused` where
    no rung is left, :class:`SourceUnavailable` and so on. Later failures are outcomes of their subjects, see
    :meth:`WriteReport.fault`.
    """
    news = Screened(decisions, study, now)
    errand = _Errand(news, base_url, now, token, transport, aliases or {}, ladder or Ladder())
    with _opened(database) as engine:
        return await errand.run(engine, dry_run, progress or (lambda done, total: None))


async def write_flags(
    base_url: str,
    rows: Iterable[Monitoring],
    lines: Mapping[str, ProtocolLine],
    *,
    study: StudyReference,
    database: Engine | Path,
    now: datetime,
    recorded: Mapping[str, str] | None = None,
    token: Token | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    aliases: Mapping[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    ladder: Ladder | None = None,
) -> WriteReport:
    """Flags about people on the study, from their monitoring; as :func:`write_back` otherwise.

    ``lines`` is what the protocol says by criterion, ``recorded`` the status of ResearchSubjects that this
    server does not hold.
    """
    news = Followed(rows, lines, recorded or {}, study, now)
    errand = _Errand(news, base_url, now, token, transport, aliases or {}, ladder or Ladder())
    with _opened(database) as engine:
        return await errand.run(engine, dry_run, progress or (lambda done, total: None))


async def ways_of(server: Server, ladder: Ladder) -> tuple[Way, ...]:
    """The ways a site has, best first. Raises :class:`SourceUnavailable` if the server cannot be asked now,
    :class:`SourceUntrustworthy` if something else answers for it (a login page): that must not send anybody
    down the ladder. One that refuses to tell of itself offers nothing."""
    if ladder.rungs is None:
        return (FIRST,)
    check_names(ladder.rungs)
    if ladder.rungs and set(ladder.rungs) <= {"own", "file"}:
        return _at_hand(choose(Capabilities(), ladder.rungs, own=ladder.own is not None), ladder)
    try:
        capabilities = capabilities_of(await server.metadata())
    except SourceRefused:
        capabilities = Capabilities()
    ways = choose(capabilities, ladder.rungs, own=ladder.own is not None and "own" in ladder.rungs)
    return _at_hand(ways, ladder)


def _at_hand(ways: Iterable[Way], ladder: Ladder) -> tuple[Way, ...]:
    return tuple(way for way in ways if way.rung != "file" or ladder.folder is not None)


@contextmanager
def _opened(database: Engine | Path) -> Iterator[Engine]:
    if isinstance(database, Engine):
        yield database
        return
    engine = open_database(database)
    try:
        yield engine
    finally:
        engine.dispose()


class _Errand:
    """One purpose, one hospital: down the ladder until everyone was told or no rung is left."""

    def __init__(
        self,
        news: News,
        base_url: str,
        now: datetime,
        token: Token | None,
        transport: httpx.AsyncBaseTransport | None,
        aliases: Mapping[str, str],
        ladder: Ladder,
    ) -> None:
        self._news = news
        self._base_url = base_url.rstrip("/")
        self._now = now
        self._token = token
        self._transport = transport
        self._aliases = aliases
        self._ladder = ladder
        self._settled: dict[str, tuple[SubjectPlan, str]] = {}
        self._total = Delivery(())
        self._files: list[Path] = []
        self._unchecked: list[str] = []

    async def run(self, engine: Engine, dry_run: bool, progress: Progress) -> WriteReport:
        server = Server(
            self._base_url,
            token=self._token,
            transport=self._transport,
            patience=self._ladder.patience,
        )
        async with server:
            ways = await ways_of(server, self._ladder)
            if dry_run:
                return await self._preview(engine, server, ways)
            leases = self._leases(engine)
            try:
                mine = leases.take(self._news.subjects)
                self._ladder.at("leased")
                self._hold_back(self._news.subjects - mine)
                await self._descend(engine, server, ways, leases, mine, progress)
            finally:
                leases.give_back()
            self._ladder.at("released")
        return self._report(dry_run=False)

    async def _preview(self, engine: Engine, server: Server, ways: Sequence[Way]) -> WriteReport:
        leases = self._leases(engine)
        for number, way in enumerate(ways):
            async with self._courier(engine, server, way, leases) as courier:
                try:
                    delivery = await courier.preview(self._news.subjects)
                except SourceRefused:
                    if number == len(ways) - 1:
                        raise
                    continue
            self._note(way, delivery)
            return self._report(dry_run=True)
        raise _no_rung(self._base_url)

    async def _descend(
        self,
        engine: Engine,
        server: Server,
        ways: Sequence[Way],
        leases: Leases,
        subjects: Collection[str],
        progress: Progress,
    ) -> None:
        if not ways:
            raise _no_rung(self._base_url)
        left = frozenset(subjects)
        for number, way in enumerate(ways):
            async with self._courier(engine, server, way, leases) as courier:
                try:
                    delivery = await courier.run(left, progress)
                except (SourceRefused, WriteRefused) as fault:
                    closed = isinstance(fault, SourceRefused) or closes(fault)
                    if number == len(ways) - 1 or not closed:
                        raise
                    continue
            self._note(way, delivery)
            left = delivery.left | self._told_below(engine, ways[number + 1 :], delivery)
            if not left:
                return

    def _told_below(self, engine: Engine, lower: Sequence[Way], delivery: Delivery) -> frozenset[str]:
        """Of those this rung has no need to tell anything, who was told on a lower one: there the news is
        that what was said no longer holds."""
        quiet = {one.subject for one in delivery.settled if one.outcome == "not_needed"}
        if not quiet:
            return frozenset()
        told = {
            row.subject
            for way in lower
            for row in Outbox(engine, self._place(way)).rows(purpose=self._news.purpose, rung=way.rung)
            if row.study == self._news.study.id and row.state not in ("superseded", "refused")
        }
        return frozenset(quiet & told)

    def _place(self, way: Way) -> str:
        """Under which name the ledger knows where this rung leads."""
        return self._base_url if way.rung not in ("own", "file") else f"{self._base_url} {way.rung}"

    @asynccontextmanager
    async def _courier(
        self, engine: Engine, server: Server, way: Way, leases: Leases
    ) -> AsyncIterator[Courier]:
        journal = Journal(
            Ledger(engine, self._place(way)),
            leases,
            study=self._news.study.id,
            purpose=self._news.purpose,
            way=way,
            approval=self._ladder.approval,
            now=self._now,
        )
        at = self._ladder.at
        if way.rung == "file":
            carrier = FileCarrier(self._ladder.folder or Path())
            yield Courier(journal, on_file(self._news, journal.told, self._base_url), carrier, way, at)
            self._files += carrier.files
        elif way.rung == "own":
            async with Server(OWN_BASE, transport=self._ladder.own) as own:
                planner = on_server(self._news, own, way, self._aliases)
                yield Courier(journal, planner, ServerCarrier(own, way, self._aliases), way, at)
        else:
            planner = on_server(self._news, server, way, self._aliases)
            yield Courier(journal, planner, ServerCarrier(server, way, self._aliases), way, at)

    def _leases(self, engine: Engine) -> Leases:
        holder = self._ladder.holder or this_process()
        return Leases(engine, self._base_url, self._news.study.id, holder, self._ladder.clock)

    def _hold_back(self, subjects: Iterable[str]) -> None:
        for subject in subjects:
            plan = SubjectPlan(subject, "held", reason="HELD_BY_ANOTHER")
            self._settled[subject] = (plan, "")

    def _note(self, way: Way, delivery: Delivery) -> None:
        for one in delivery.settled:
            self._settled[one.subject] = (one, way.rung)
        self._total = Delivery(
            (),
            self._total.resources_written + delivery.resources_written,
            self._total.study or delivery.study,
            (*self._total.duplicates, *delivery.duplicates),
        )
        self._unchecked += [f"{way.rung}: {delivery.unchecked}"] if delivery.unchecked else []

    def _report(self, *, dry_run: bool) -> WriteReport:
        settled = [self._settled[subject] for subject in sorted(self._settled)]
        return WriteReport(
            Counter(one.outcome for one, _ in settled),
            tuple({**one.row(), "rung": rung} for one, rung in settled),
            self._total.resources_written,
            self._total.study,
            tuple(sorted(set(self._total.duplicates))),
            dry_run,
            Counter(rung for _, rung in settled if rung),
            tuple(str(path) for path in self._files),
            tuple(self._unchecked),
        )


def _no_rung(base_url: str) -> WriteRefused:
    return WriteRefused(
        "no rung is left: the server offers none and no file may be written",
        where=base_url,
        fix="name rungs in site.toml that this server takes, or file",
    )
