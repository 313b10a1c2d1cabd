"""A browser for tests: keeps cookies, sends Origin and Sec-Fetch-Site as browsers do, reads forms."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

HERE = "http://127.0.0.1:8765"


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **passed: float) -> None:
        self.now += timedelta(**passed)


class Browser(httpx.AsyncClient):
    """``base`` is the origin of the application, also what the browser says in Origin."""

    def __init__(self, app: FastAPI, base: str = HERE, address: str = "192.0.2.1") -> None:
        transport = httpx.ASGITransport(app, client=(address, 40000))
        super().__init__(transport=transport, base_url=base, headers={"Accept": "text/html"})
        self._origin = base

    async def open(self, path: str, **request: Any) -> httpx.Response:
        return await self.get(path, headers={"Sec-Fetch-Site": "same-origin"}, **request)

    async def submit(self, path: str, **fields: str) -> httpx.Response:
        return await self.post(path, data=fields, headers={"Origin": self._origin})

    async def sign_in(self, account: str, password: str, next: str = "/") -> httpx.Response:
        token = csrf_in(await self.open("/sign-in"))
        return await self.submit("/sign-in", csrf=token, account=account, password=password, next=next)

    def number(self, name: str = "session") -> str:
        return self.cookies.get(name, "")


def csrf_in(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found is not None, page.text
    return found[1]
