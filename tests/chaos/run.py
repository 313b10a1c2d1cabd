"""Runs schedules against real servers, several side by side, and counts what happened."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from adapter.source.auth.keys import PRIVATE, add_key, load_keys
from tests.chaos.people import JSON
from tests.chaos.play import Hospital, Stage, play
from tests.chaos.proxy import Proxy
from tests.chaos.schedule import Script
from tests.chaos.stores import Stores
from tests.chaos.tally import Tally
from tests.chaos.zygote import Zygote

LANES = 10


async def hospital(name: str, base: str) -> Hospital:
    # sekmet-fhir says that it is ready a moment before it listens
    waiting = httpx.AsyncHTTPTransport(retries=8)
    async with httpx.AsyncClient(timeout=120, transport=waiting) as http:
        said = (await http.get(f"{base}/metadata", headers=JSON)).json()
    types = frozenset(one["type"] for rest in said["rest"] for one in rest.get("resource", []))
    return Hospital(name, base, types)


async def run_all(
    schedules: Sequence[Script],
    servers: Mapping[str, str],
    *,
    postgres: str = "",
    lanes: int = LANES,
    told: Callable[[str], None] = lambda line: None,
) -> Tally:
    """``servers`` are base URLs by name; without ``postgres``, a server's URL, all stores are SQLite. All
    findings are in the tally; nothing is raised for them."""
    started, tally = time.monotonic(), Tally()
    hospitals = {name: await hospital(name, base) for name, base in servers.items()}
    waiting = list(reversed(schedules))
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        root = Path(folder)
        stores = Stores(root, postgres)
        for _ in range(3):
            add_key(root / "keys", "ES384")
        key_file = root / "keys" / PRIVATE
        keys = tuple(key.public() for key in load_keys(key_file))
        # no connection is kept: the server may close one at the moment it is used again
        once = httpx.Limits(max_keepalive_connections=0)
        async with Zygote() as zygote, httpx.AsyncClient(timeout=120, trust_env=False, limits=once) as http:

            async def lane(number: int) -> None:
                proxies: dict[str, Proxy] = {}
                try:
                    while waiting:
                        schedule = waiting.pop()
                        at = hospitals[schedule.server]
                        if at.name not in proxies:
                            place = root / f"{number}-{at.name}"
                            place.mkdir()
                            proxies[at.name] = Proxy(at.base, place)
                            await proxies[at.name].start()
                        proxy = proxies[at.name]
                        stage = Stage(at, proxy, zygote, http, root, tally, stores, key_file, keys)
                        one = play(schedule, stage)
                        await one.perform()
                        for line in one.said:
                            told(line)
                finally:
                    for proxy in proxies.values():
                        await proxy.stop()
                        tally.requests += proxy.requests
                        tally.faults += proxy.counts

            await asyncio.gather(*(lane(number) for number in range(lanes)))
    tally.seconds = time.monotonic() - started
    return tally
