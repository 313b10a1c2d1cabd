"""Messages of a subscription, some twice, late or out of order, to a receiver and a worker that are killed.

The sender is this run: it repeats a message until it got a 2xx, as servers do. In the end every event must
have been looked at, by itself or by a look at everything after it was heard.
"""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import httpx

from adapter.config import Channel, Site
from adapter.store.database import open_database
from adapter.store.inbox import SWEEP, TAKEN_FOR, Inbox
from adapter.web.app import create_app
from tests.spec.test_notifications import event, r4b_backport

SECRET = "Bearer the-channel-secret-of-lab"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)


def order(seed: int, events: int) -> list[int]:
    """Numbers from 1, some out of order, some twice, none left out for good."""
    random = Random(f"hearing {seed}")  # noqa: S311 - reproducible, no secret
    numbers = list(range(1, events + 1)) + [random.randint(1, events) for _ in range(3)]
    late = [(place + random.choice((0, 0, 0, 2, 5)), number) for place, number in enumerate(numbers)]
    return [number for _, number in sorted(late, key=lambda one: one[0])]


def hear(job: dict[str, Any]) -> dict[str, Any]:
    """Deliver what was not acknowledged yet; die where the job says so."""
    return asyncio.run(_heard(job, Path(job["root"])))


async def _heard(job: dict[str, Any], root: Path) -> dict[str, Any]:
    (root / "header").write_text(SECRET)
    site = Site(name="h", site_id="h", subscriptions={"lab": Channel(header_file=str(root / "header"))})
    where = job["database"] if "://" in job["database"] else Path(job["database"])
    engine = open_database(where, busy_seconds=1 if job["hurried"] else 30)
    app = create_app(engine, clock=lambda: START, site=site)
    log = root / "acknowledged"
    before = len(log.read_text().split()) if log.exists() else 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://adapter") as client:
        for place, number in list(enumerate(job["numbers"]))[before:]:
            if job["kill"] == ["before", place]:
                os.kill(os.getpid(), signal.SIGKILL)
            body = r4b_backport("event-notification", number, event(number, f"Observation/{number}"))
            answer = await client.post("/subscriptions/lab", content=body, headers={"Authorization": SECRET})
            if job["kill"] == ["after", place]:
                os.kill(os.getpid(), signal.SIGKILL)
            if answer.status_code >= 300:
                break  # 503: it comes again
            with log.open("a") as told:
                told.write(f"{number}\n")
    if job["look"]:
        _look(Inbox(engine), root, job["look"])
    engine.dispose()
    return {"fault": "", "written": 0}


def _look(inbox: Inbox, root: Path, kill: str) -> None:
    """What `adapter follow` does: take, read again, done."""
    now = START + TAKEN_FOR * (2 + len(list(root.glob("looks*"))))
    taken = inbox.take(now)
    (root / f"looks-{len(list(root.glob('looks*')))}").write_text("")
    if kill == "taken":
        os.kill(os.getpid(), signal.SIGKILL)
    with (root / "seen").open("a") as seen:
        seen.writelines(f"{one.reference or '*'}\n" for one in taken)
    if kill == "read":
        os.kill(os.getpid(), signal.SIGKILL)
    inbox.done(taken, now)


def unheard(root: Path, where: Path | str, events: int) -> list[str]:
    """What was acknowledged and never looked at, and what is still known to be missing."""
    engine = open_database(where)
    channels = Inbox(engine).channels()
    left = Inbox(engine).take(START + TAKEN_FOR * 1000)
    engine.dispose()
    seen = set((root / "seen").read_text().split()) if (root / "seen").exists() else set()
    named = [f"Observation/{number}" for number in range(1, events + 1)]
    wrong = [f"{one} was never looked at" for one in named if one not in seen]
    wrong += [f"{one.missing} events of {one.name} are missing" for one in channels if one.missing]
    wrong += [f"{one.reference or 'a look at everything'} waits" for one in left if one.reference != SWEEP]
    return wrong
