"""One round of everything that comes back: read what changed, screen, follow, tell the hospital and the team.

A step that fails for now ends what depends on it and nothing else: without fresh records nobody is judged
anew, so that an old record is never taken for today's; a write-back that fails leaves the verdicts standing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

import httpx
import msgspec

from adapter import certificate, digest, monitoring, pipeline
from adapter.config import Digest
from adapter.digest import News
from adapter.errors import AdapterError, ConfigError
from adapter.screening import Screening
from adapter.source.generations import MANIFEST
from adapter.store.outbox import Outbox
from adapter.trial import Trial, Workspace, note, open_store

Name = Literal["read", "screen", "monitor", "write", "digest"]
State = Literal["done", "failed", "left"]


class Step(msgspec.Struct, frozen=True):
    """``left`` was not tried, because a step before it failed or nothing asks for it."""

    name: Name
    state: State
    seconds: float = 0
    fault: str = ""
    exit_code: int = 0


class Round(msgspec.Struct, frozen=True):
    """What a round did, and what it has to tell."""

    steps: tuple[Step, ...]
    news: News

    @property
    def exit_code(self) -> int:
        """Of the first step that failed; 0 if none did."""
        return next((one.exit_code for one in self.steps if one.exit_code), 0)


class _Steps:
    def __init__(self) -> None:
        self.done: list[Step] = []

    async def take(
        self, name: Name, work: Callable[[], Awaitable[None]], *, after: tuple[Name, ...] = ()
    ) -> None:
        ended = {one.name for one in self.done if one.state == "done"}
        if not set(after) <= ended:
            self.done.append(Step(name, "left"))
            return
        began = time.monotonic()
        try:
            await work()
        except AdapterError as fault:
            seconds = time.monotonic() - began
            self.done.append(Step(name, "failed", seconds, type(fault).__name__, fault.exit_code))
        else:
            self.done.append(Step(name, "done", time.monotonic() - began))

    def leave(self, name: Name) -> None:
        self.done.append(Step(name, "left"))

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.done if one.state == "failed")


async def go_round(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    clock: Callable[[], datetime],
    write: bool = True,
    dry_run: bool = False,
    own: httpx.AsyncBaseTransport | None = None,
    mail: Callable[[News, Digest, datetime], None] | None = None,
) -> Round:
    """``base_url`` is the hospital's server. With ``dry_run`` nothing is written to it and no mail is sent;
    what was read and judged stays. Never raises an :class:`AdapterError`: a step says how it ended."""
    steps = _Steps()
    before, watched = _screened(workspace), monitoring.read_monitoring(workspace)
    day = clock().astimezone(trial.site.zone).date()

    async def read() -> None:
        if (workspace.landing / MANIFEST).exists():
            landing, _ = await pipeline.sync(trial, workspace, base_url, now=clock())
        else:
            landing = await pipeline.land_server(trial, workspace, base_url, now=clock())
        certificate.keep(certificate.certificate_of(trial, landing), workspace.landing)

    async def screen() -> None:
        pipeline.screen(trial, workspace, as_of=day)

    async def monitor() -> None:
        monitoring.monitor(trial, workspace, as_of=day)

    async def tell() -> None:
        report = await monitoring.write_back(
            trial, workspace, base_url, now=clock(), dry_run=dry_run, own=own
        )
        if fault := report.fault():
            raise fault

    await steps.take("read", read)
    await steps.take("screen", screen, after=("read",))
    await steps.take("monitor", monitor, after=("screen",))
    if write:
        await steps.take("write", tell, after=("screen",))
    else:
        steps.leave("write")
    news = _news(trial, workspace, before, watched, steps.failed, clock())
    settings = trial.site.digest

    async def inform() -> None:
        if settings is not None:
            (mail or _mail)(news, settings, clock())

    if settings is None or dry_run or (news.quiet and not settings.always):
        steps.leave("digest")
    else:
        await steps.take("digest", inform)
    done = Round(tuple(steps.done), news)
    told = {one.name: one.state for one in done.steps}
    note(workspace, "round", clock(), (trial.protocol.id,), steps=told, moved=news.moved, alerts=news.alerts)
    return done


def _mail(news: News, settings: Digest, now: datetime) -> None:
    digest.send(digest.message(news, settings, now), settings)


def _news(
    trial: Trial,
    workspace: Workspace,
    before: Screening | None,
    watched: monitoring.MonitoringReport | None,
    failed: tuple[str, ...],
    now: datetime,
) -> News:
    after, followed = _screened(workspace), monitoring.read_monitoring(workspace)
    known = certificate.read(workspace.landing)
    with open_store(workspace, now) as engine:
        waiting = Outbox(engine).counts().get("planned", 0) if trial.site.approval else 0
    return News(
        trial.protocol.id,
        trial.site.site_id,
        now.astimezone(trial.site.zone).date(),
        digest.moved(before, after) if after else {},
        digest.raised(watched, followed),
        digest.overdue(followed),
        waiting,
        tuple(sorted(one.resource_type for one in known.types if one.incomplete)) if known else (),
        failed,
    )


def _screened(workspace: Workspace) -> Screening | None:
    try:
        return pipeline.read_screening(workspace)
    except ConfigError:
        return None
