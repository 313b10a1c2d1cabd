"""Answers to a write-back that are too large, cannot be unpacked, or are no answer at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from adapter.errors import SourceUnavailable, SourceUntrustworthy
from adapter.writeback.send import Ladder, ways_of
from adapter.writeback.server import Patience, Server

BASE = "https://hospital.example/fhir"
SUBJECT = {"resourceType": "ResearchSubject", "id": "s", "status": "candidate"}
SHORT = Patience(attempts=1, wait_initial=0.01, max_bytes=2**20)
Answer = Callable[[httpx.Request], httpx.Response]


def server(answer: httpx.Response) -> Server:
    return Server(BASE, transport=httpx.MockTransport(lambda request: answer), patience=SHORT)


def bomb(status: int = 200) -> httpx.Response:
    return httpx.Response(status, content=gzip.compress(bytes(2**24)), headers={"Content-Encoding": "gzip"})


def damaged() -> httpx.Response:
    body = gzip.compress(json.dumps(SUBJECT).encode())
    return httpx.Response(200, stream=httpx.ByteStream(b"xx" + body), headers={"Content-Encoding": "gzip"})


async def test_a_gzip_bomb_is_not_unpacked_whole() -> None:
    async with server(bomb()) as one:
        with pytest.raises(SourceUntrustworthy, match="more than 1048576 bytes"):
            await one.read("ResearchSubject/s")
        with pytest.raises(SourceUnavailable):  # a write: nobody knows what became of it
            await one.put(SUBJECT, "1")


async def test_an_answer_that_cannot_be_unpacked_is_no_answer() -> None:
    async with server(damaged()) as one:
        with pytest.raises(SourceUnavailable, match="DecodingError"):
            await one.put(SUBJECT, "1")


@pytest.mark.parametrize(
    "entry",
    [
        {"response": {"status": "201", "etag": 'W/"7"'}},
        {"response": {"status": "201", "location": "ResearchSubject/s/_history/7"}},
        {"response": {"status": "200"}, "resource": {"meta": {"versionId": "7"}}},
    ],
    ids=["etag", "location", "resource, as Medplum"],
)  # fmt: skip
async def test_the_version_of_what_a_transaction_wrote(entry: dict[str, object]) -> None:
    """Without it the next run would take what is ours for a person's and never move it again."""
    said = {"resourceType": "Bundle", "type": "transaction-response", "entry": [entry]}
    async with server(httpx.Response(200, json=said)) as one:
        (stored,) = await one.transact({"resourceType": "Bundle", "entry": [{}]})
    assert stored.version == "7"


@pytest.mark.parametrize(
    "body",
    [b"<html>Please sign in</html>", b'{"resourceType":"OperationOutcome","issue":[]}', b"[]"],
    ids=["login page", "outcome", "no FHIR"],
)
async def test_200_alone_does_not_say_that_it_was_written(body: bytes) -> None:
    async with server(httpx.Response(200, content=body)) as one:
        with pytest.raises(SourceUnavailable, match="does not say"):
            await one.put(SUBJECT, "1")
    async with server(httpx.Response(200, content=body, headers={"ETag": 'W/"2"'})) as one:
        assert (await one.put(SUBJECT, "1")).version == "2"


@pytest.mark.parametrize("body", [b"<html>Please sign in</html>", b'{"resourceType":"Patient"}'])
async def test_a_page_in_place_of_metadata_sends_nobody_down_the_ladder(body: bytes, tmp_path: Path) -> None:
    async with server(httpx.Response(200, content=body)) as one:
        with pytest.raises(SourceUntrustworthy):
            await ways_of(one, Ladder((), folder=tmp_path))


async def test_a_server_that_tells_nothing_of_itself_leaves_the_file(tmp_path: Path) -> None:
    async with server(httpx.Response(403)) as one:
        (way,) = await ways_of(one, Ladder((), folder=tmp_path))
    assert way.rung == "file"
