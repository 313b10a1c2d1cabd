"""Follow a hospital: when its subscriptions told of a change, read what changed and judge whom it touches.

A message says where to look; one look answers for all that wait. Where they name what changed, that alone is
read and judged, within a second; else, and wherever that could miss something, everything is. From time to
time everything is looked at though nobody told, because a subscription can fall silent without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from adapter import certificate, monitoring, pipeline
from adapter.screening import ReadFiles, Screening, Task, renewed
from adapter.source.client import Announced
from adapter.source.landing import Landing
from adapter.source.sync import SyncReport
from adapter.store.inbox import SWEEP, ChannelState, Inbox
from adapter.trial import Trial, Workspace, landing_sha256, noted, open_store

SWEEP_EVERY = timedelta(hours=24)


class Answer(msgspec.Struct, frozen=True):
    """One look: messages it answers, what had changed, how many people were judged and how many of them as
    before. ``direct`` says that only what was told of was read and only whom it touches was judged."""

    messages: int
    sync: SyncReport
    judged: int
    unchanged: int
    direct: bool = False


def waits(trial: Trial, inbox: Inbox, now: datetime, sweep_every: timedelta = SWEEP_EVERY) -> bool:
    """Whether there is anything to :func:`answer`."""
    late = due(trial.site.subscriptions, inbox.channels(), now, sweep_every)
    return bool(late) or inbox.waits(now)


class Between:
    """What is kept from one look to the next to spare the second: what was read in landed files, what the
    server announced. Looks come to the same without."""

    def __init__(self) -> None:
        self.files = ReadFiles()
        self.announced = Announced()


class _Look(NamedTuple):
    landing: Landing
    report: SyncReport
    screening: Screening
    direct: bool


async def answer(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    *,
    now: datetime,
    sweep_every: timedelta = SWEEP_EVERY,
    between: Between | None = None,
) -> Answer | None:
    """Answer everything that waits in the inbox; None if nothing waits and no sweep is due.

    Where every message names what changed, only that is read and only those people are judged; the result
    is that of looking at everything. Raises what reading the hospital raises; the messages wait again then.
    """
    between = between or Between()
    with open_store(workspace, now) as engine:
        inbox = Inbox(engine)
        for name in due(trial.site.subscriptions, inbox.channels(), now, sweep_every):
            inbox.sweep(name, now)
        waiting = inbox.take(now)
        if not waiting:
            return None
        try:
            named = sorted({one.reference for one in waiting})
            look = None
            if SWEEP not in named:
                look = await _directly(trial, workspace, base_url, named, now, between)
            if look is None:
                between.announced.forget()
                look = await _at_everything(trial, workspace, base_url, now)
        except BaseException:
            between.announced.forget()
            inbox.give_back(waiting)
            raise
        inbox.done(waiting, now)
        noted(
            engine,
            "follow",
            now,
            landing_sha256=landing_sha256(look.landing),
            messages=len(waiting),
            changes=look.report.changes,
            versions=look.screening.versions,
        )
    judged = len(look.screening.decisions)
    return Answer(len(waiting), look.report, judged, look.screening.reused, look.direct)


async def _at_everything(trial: Trial, workspace: Workspace, base_url: str, now: datetime) -> _Look:
    landing, report = await pipeline.sync(trial, workspace, base_url, now=now)
    certificate.keep(certificate.certificate_of(trial, landing), workspace.landing)
    done = pipeline.screen(trial, workspace, as_of=_day(trial, now))
    _monitor(trial, workspace, done.as_of)
    return _Look(landing, report, done, direct=False)


def _monitor(trial: Trial, workspace: Workspace, as_of: date) -> None:
    """Where people on the study are followed at all; only whom something changed for is judged."""
    if monitoring.is_kept(workspace):
        monitoring.monitor(trial, workspace, as_of=as_of)


async def _directly(
    trial: Trial,
    workspace: Workspace,
    base_url: str,
    named: Sequence[str],
    now: datetime,
    between: Between,
) -> _Look | None:
    """None where it takes a look at everything."""
    read = await pipeline.reread(trial, workspace, base_url, named, now=now, announced=between.announced)
    if read is None:
        return None
    task = Task(trial, workspace, _day(trial, now))
    done = renewed(task, read.former, read.latest, between.files)
    if done is None:  # the charts are read; the rest of the way is a screening of all that is landed
        screening, people = pipeline.screen(trial, workspace, as_of=task.as_of), None
    else:
        screening, people = done
    if read.latest is not read.former:
        certificate.keep(certificate.certificate_of(trial, read.latest), workspace.landing)
    if people is None or people:
        _monitor(trial, workspace, task.as_of)
    report = SyncReport(
        generation=read.latest.manifest.generation,
        changes=read.changes,
        candidates=len(screening.decisions),
        new_candidates=0,
        former_candidates=0,
        charts_by_change=0,
        charts_in_full=len(read.charts),
        requests=read.requests,
    )
    return _Look(read.latest, report, screening, direct=done is not None)


def _day(trial: Trial, now: datetime) -> date:
    return now.astimezone(trial.site.zone).date()


def due(
    channels: Iterable[str], states: tuple[ChannelState, ...], now: datetime, sweep_every: timedelta
) -> tuple[str, ...]:
    """Channels of the site that nobody has looked behind for ``sweep_every``, or ever."""
    swept = {state.name: state.swept_at for state in states}
    late = []
    for name in sorted(channels):
        last = swept.get(name, "")
        if not last or datetime.fromisoformat(last) + sweep_every <= now:
            late.append(name)
    return tuple(late)
