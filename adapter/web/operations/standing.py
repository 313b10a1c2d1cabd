"""How the adapter stands: when it last screened, what it could not read, what waits. Counts and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine

from adapter import __version__, certificate, monitoring
from adapter.errors import ConfigError, StoreUnavailable
from adapter.model.decision import Verdict
from adapter.pipeline import read_screening
from adapter.store import audit
from adapter.store.database import reading
from adapter.store.inbox import ChannelState, Inbox
from adapter.store.outbox import Outbox
from adapter.trial import Workspace

Clock = Callable[[], datetime]


class Standing(msgspec.Struct, frozen=True):
    """``overall`` counts people by verdict, ``issues`` by code, ``outbox`` rows by state, ``safety`` people
    by raised line. ``screened_at`` and ``as_of`` are None before the first screening; ``partial`` names types
    that were not read completely. ``audit`` is the number of the last row."""

    version: str
    screened_at: datetime | None
    as_of: date | None
    overall: dict[str, int]
    issues: dict[str, int]
    on_study: int
    safety: dict[str, int]
    overdue: int
    partial: tuple[str, ...]
    outbox: dict[str, int]
    channels: tuple[ChannelState, ...]
    audit: int


class Watch:
    """Reads how things stand; what lies in files is read again only when they have changed."""

    def __init__(self, engine: Engine, workspace: Workspace | None) -> None:
        self._engine = engine
        self._workspace = workspace
        self._read: tuple[tuple[float, ...], Standing] | None = None

    def ready(self) -> bool:
        """Whether the database answers; opening it brought its tables up to date."""
        try:
            with reading(self._engine) as connection:
                audit.head(connection)
        except StoreUnavailable:
            return False
        return True

    def standing(self) -> Standing:
        """Raises :class:`StoreUnavailable` if the database does not answer."""
        with reading(self._engine) as connection:
            number, _ = audit.head(connection)
        return msgspec.structs.replace(
            self._files(),
            outbox=dict(sorted(Outbox(self._engine).counts().items())),
            channels=Inbox(self._engine).channels(),
            audit=number,
        )

    def _files(self) -> Standing:
        nothing = Standing(__version__, None, None, {}, {}, 0, {}, 0, (), {}, (), 0)
        if self._workspace is None:
            return nothing
        times = tuple(_time(one) for one in _files_of(self._workspace))
        if self._read is None or self._read[0] != times:
            self._read = times, _read(self._workspace, nothing)
        return self._read[1]


def _files_of(workspace: Workspace) -> tuple[Path, ...]:
    return (
        workspace.screening / "screening.json",
        workspace.monitoring / "results.json",
        workspace.landing / "manifest.json",
    )


def _time(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _read(workspace: Workspace, nothing: Standing) -> Standing:
    try:
        screening = read_screening(workspace)
    except ConfigError:
        return nothing
    followed = monitoring.read_monitoring(workspace)
    rows = followed.rows if followed else ()
    raised = Counter(one.id for row in rows for one in row.safety if one.verdict is Verdict.MET)
    known = certificate.read(workspace.screening)
    return msgspec.structs.replace(
        nothing,
        screened_at=datetime.fromtimestamp(_time(workspace.screening / "screening.json")).astimezone(),
        as_of=screening.as_of,
        overall=dict(sorted(Counter(one.overall.value for one in screening.decisions).items())),
        issues=dict(sorted(Counter(one.code for one in screening.facts.issues).items())),
        on_study=len(rows),
        safety=dict(sorted(raised.items())),
        overdue=sum(any(one.status == "overdue" for one in row.due) for row in rows),
        partial=tuple(sorted(one.resource_type for one in known.types if one.incomplete)) if known else (),
    )


class Gauges(Collector):
    """:class:`Standing` as Prometheus reads it. Source: Prometheus, *Writing exporters*."""

    def __init__(self, watch: Watch, clock: Clock) -> None:
        self._watch = watch
        self._clock = clock

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            now = self._watch.standing()
        except StoreUnavailable:
            yield GaugeMetricFamily("adapter_database_up", "1 if the database answers.", value=0)
            return
        yield GaugeMetricFamily("adapter_database_up", "1 if the database answers.", value=1)
        yield _by("adapter_info", "The program.", "version", {now.version: 1})
        if now.screened_at is not None:
            age = (self._clock() - now.screened_at).total_seconds()
            yield GaugeMetricFamily("adapter_screening_age_seconds", "Since the last screening.", value=age)
        yield _by("adapter_people", "People screened, by verdict.", "overall", now.overall)
        yield _by("adapter_issues", "Issues of the last screening, by code.", "code", now.issues)
        yield GaugeMetricFamily("adapter_people_on_study", "People followed.", value=now.on_study)
        yield _by("adapter_safety_alerts", "People with a safety line raised.", "line", now.safety)
        yield GaugeMetricFamily("adapter_people_overdue", "People with something overdue.", value=now.overdue)
        yield _by(
            "adapter_partial_types", "1 for each resource type not read completely.", "resource_type",
            dict.fromkeys(now.partial, 1),
        )  # fmt: skip
        yield _by("adapter_outbox_rows", "Rows of the outbox, by state.", "state", now.outbox)
        waiting = {one.name: one.waiting for one in now.channels}
        yield _by("adapter_messages_waiting", "Messages that wait, by channel.", "channel", waiting)
        yield GaugeMetricFamily("adapter_audit_rows", "Rows of the audit.", value=now.audit)


def _by(name: str, text: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
