"""Bytes on their way: read piece by piece, counted, and told of when they did not all arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anyio
from anyio.to_thread import run_sync
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from adapter.web.sponsor.shelf import CHUNK, Opened


class Delivery(Response):
    """Sends bytes ``first`` to before ``end`` of a verified file and closes it; never more than one piece in
    memory. If fewer went out, because the client left or the file was changed under us, the connection ends
    without an end of the message, and ``cut_short`` is told how many."""

    def __init__(
        self,
        opened: Opened,
        span: tuple[int, int],
        status: int,
        headers: Mapping[str, str],
        media: str,
        cut_short: Callable[[int], None],
    ) -> None:
        super().__init__(None, status, None, media)
        self.init_headers(dict(headers))
        self._opened = opened
        self._span = span
        self._cut_short = cut_short

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        first, end = self._span
        self._at = first
        try:
            async with anyio.create_task_group() as tasks:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    tasks.cancel_scope.cancel()

                tasks.start_soon(watch)
                await self._send(send, end)
                tasks.cancel_scope.cancel()
        finally:
            self._opened.close()
            if self._at < end:
                with anyio.CancelScope(shield=True):
                    await run_sync(self._cut_short, self._at - first)

    async def _send(self, send: Send, end: int) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while self._at < end:
            piece = await run_sync(self._opened.read, self._at, min(CHUNK, end - self._at))
            if not piece:
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            self._at += len(piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
