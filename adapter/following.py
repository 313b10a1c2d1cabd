"""Follow a hospital: when its subscriptions told of a change, read what changed and judge whom it touches.

A message says where to look; one look answers for all that wait. From time to time everything is looked at
though nobody told, because a subscription can fall silent without a word.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from adapter import certificate, pipeline
from adapter.source.sync import SyncReport
from adapter.store.inbox import ChannelState, Inbox
from adapter.trial import Trial, Workspace, landing_sha256, note, open_store

SWEEP_EVERY = timedelta(hours=24)


class Answer(msgspec.Struct, frozen=True):
    """One look: messages it answers, what had changed, how many people were judged and how many of them as
    before."""

    messages: int
    sync: SyncReport
    judged: int
    unchanged: int


async def answer(
    trial: Trial, workspace: Workspace, base_url: str, *, now: datetime, sweep_every: timedelta = SWEEP_EVERY
) -> Answer | None:
    """Answer everything that waits in the inbox; None if nothing waits and no sweep is due.

    Raises what reading the hospital raises; the messages wait again then.
    """
    with open_store(workspace, now) as engine:
        inbox = Inbox(engine)
        for name in due(trial.site.subscriptions, inbox.channels(), now, sweep_every):
            inbox.sweep(name, now)
        waiting = inbox.take(now)
        if not waiting:
            return None
        try:
            landing, report = await pipeline.sync(trial, workspace, base_url, now=now)
            certificate.keep(certificate.certificate_of(trial, landing), workspace.landing)
            done = pipeline.screen(trial, workspace, as_of=now.astimezone(trial.site.zone).date())
        except BaseException:
            inbox.give_back(waiting)
            raise
        inbox.done(waiting, now)
    note(
        workspace,
        "follow",
        now,
        landing_sha256=landing_sha256(landing),
        messages=len(waiting),
        changes=report.changes,
        versions=done.versions,
    )
    return Answer(len(waiting), report, len(done.decisions), done.reused)


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
