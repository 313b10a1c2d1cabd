"""Where requests and tokens may go: the attacks known against FHIR clients, as tables.

Expected answers come from RFC 6454 (what an origin is), RFC 6890 and the IANA special-purpose registries
(which addresses are not public), the clouds' own pages on metadata addresses; CVE-2026-34359, -34360,
-34361 (prefix comparison of URLs, requests to addresses that the other side chose).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from adapter.errors import ConfigError, SourceUntrustworthy
from adapter.origins import Origins, is_public, origin_of
from adapter.source.auth.token import FixedToken
from adapter.source.client import FhirClient, Patience
from tests.servers.certificate import certificate
from tests.servers.guarded import Guarded, serving

SITE = Origins("https://ehr.example/fhir", ("https://files.example:8443", "http://10.1.2.3"))

OURS = [
    "https://ehr.example/fhir/Patient",
    "https://ehr.example:443/elsewhere",
    "HTTPS://EHR.Example/fhir",
    "https://ehr.example./fhir",
    "https://ehr.example/fhir?next=https://evil.example",
]
LISTED = ["https://files.example:8443/1.ndjson", "http://10.1.2.3/a", "http://10.1.2.3:80/a"]
NOT_OURS = [
    "https://ehr.example.evil.example/fhir",
    "https://ehr.examples/fhir",
    "https://evil.example/https://ehr.example/fhir",
    "https://evil.example#https://ehr.example/fhir",
    "https://sub.ehr.example/fhir",
    "https://ehr.example:8443/fhir",
    "http://ehr.example/fhir",
    "http://ehr.example:443/fhir",
    "https://files.example/1.ndjson",
    "https://10.1.2.3/a",
    "https://xn--hr-bja.example/fhir",
    "https://êhr.example/fhir",
]
MALFORMED = [
    "https://ehr.example@evil.example/fhir",
    "https://ehr.example:443@evil.example/fhir",
    "https://user:secret@ehr.example/fhir",
    "https://evil.example\\@ehr.example/fhir",
    "https://ehr.example\\.evil.example/fhir",
    "https:ehr.example/fhir",
    "https:///fhir",
    "//ehr.example/fhir",
    "ehr.example/fhir",
    "file:///etc/passwd",
    "gopher://ehr.example/",
    "ftp://ehr.example/fhir",
    "javascript:alert(1)",
    "https://ehr.example:99999/",
    "https://ehr.example:0/",
    "https://ehr%2eexample/",
    "https://ehr.example%00.evil.example/",
    "https://ehr..example/",
    "https://ehr.example\t/",
    "https://ehr.example\r\nX-Injected: 1/",
    "https://[fe80::1%25eth0]/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1.:1.2.3/",
    "https://１２７.0.0.1/",
    "https://ⓔhr.example/",
    "",
]


@pytest.mark.parametrize("url", OURS)
def test_the_own_origin_gets_requests_and_token(url: str) -> None:
    assert SITE.is_base(url)
    assert SITE.may_carry_token(url)
    assert SITE.followed(url, where="page") == httpx.URL(url)


@pytest.mark.parametrize("url", LISTED)
def test_a_listed_origin_gets_requests_and_token_but_none_by_redirect(url: str) -> None:
    assert not SITE.is_base(url)
    assert SITE.may_carry_token(url)
    assert not SITE.may_carry_token(url, asked="https://ehr.example/fhir/1")
    assert SITE.followed(url, where="page") == httpx.URL(url)


@pytest.mark.parametrize("url", NOT_OURS)
def test_another_origin_gets_neither(url: str) -> None:
    assert not SITE.may_carry_token(url)
    with pytest.raises(SourceUntrustworthy, match="another server"):
        SITE.followed(url, where="page")


@pytest.mark.parametrize("url", MALFORMED)
def test_a_url_that_readers_differ_about_is_not_followed(url: str) -> None:
    assert not SITE.may_carry_token(url)
    for strangers in (False, True):
        with pytest.raises(SourceUntrustworthy):
            SITE.followed(url, where="page", strangers=strangers)
    with pytest.raises(ConfigError) as caught:
        Origins(url)
    assert "secret" not in str(caught.value)


def test_a_refusal_names_the_origin_and_not_the_question() -> None:
    with pytest.raises(SourceUntrustworthy) as caught:
        SITE.followed("https://evil.example/Patient?name=Zhang", where="search")
    assert "https://evil.example" in str(caught.value)
    assert "Zhang" not in str(caught.value)


NOT_PUBLIC = [
    "127.0.0.1", "127.8.8.8", "0.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    "224.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1",
    "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_in_a_link(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(SourceUntrustworthy, match="no public https server"):
        SITE.followed(f"https://{host}/latest/meta-data", where="manifest", strangers=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450::1"])
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


def test_a_stranger_needs_https() -> None:
    assert SITE.followed("https://bucket.example/1.ndjson", where="manifest", strangers=True)
    with pytest.raises(SourceUntrustworthy):
        SITE.followed("http://bucket.example/1.ndjson", where="manifest", strangers=True)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://münchen.example/a", "https://xn--mnchen-3ya.example/b"),
        ("https://h.example", "https://H.EXAMPLE.:443/"),
        ("http://[::1]:80/", "http://[0:0:0:0:0:0:0:1]/"),
    ],
)
def test_two_spellings_of_one_origin(one: str, other: str) -> None:
    assert origin_of(one) == origin_of(other)


class Names:
    """A name server that answers each question with the next of its answers, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A web server on 127.0.0.1: its port, and the heads of the requests it got."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


async def get(origins: Origins, url: str) -> int:
    async with httpx.AsyncClient(transport=origins.transport(), trust_env=False, timeout=5) as http:
        return (await http.get(url)).status_code


@pytest.mark.parametrize(
    "addresses",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], []],
)
async def test_a_foreign_name_for_a_private_address_is_not_connected_to(addresses: list[str]) -> None:
    async with listening() as (port, heads):
        with pytest.raises(SourceUntrustworthy):
            await get(
                Origins("https://ehr.example", resolve=Names(addresses)), f"http://inside.example:{port}/"
            )
        assert heads == []


async def test_the_own_name_may_be_private_and_is_looked_up_once() -> None:
    async with listening() as (port, heads):
        names = Names(["127.0.0.1"], ["203.0.113.7"])  # rebinding: the second answer is never asked for
        own = f"http://ehr.hospital.example:{port}"
        assert await get(Origins(own, resolve=names), f"{own}/fhir") == 200
        assert names.asked == 1
        assert f"host: ehr.hospital.example:{port}".encode() in heads[0].lower()


async def test_another_port_of_the_own_host_is_another_server() -> None:
    async with listening() as (port, heads):
        with pytest.raises(SourceUntrustworthy):
            await get(Origins(f"http://127.0.0.1:{port + 1}"), f"http://127.0.0.1:{port}/")
        assert heads == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "fe80::1", "168.63.129.16"])
async def test_not_even_the_own_name_may_mean_a_metadata_address(address: str) -> None:
    own = "http://ehr.hospital.example"
    with pytest.raises(SourceUntrustworthy):
        await get(Origins(own, resolve=Names([address])), own)


async def test_a_listed_origin_may_be_private() -> None:
    async with listening() as (port, heads):
        origins = Origins("https://ehr.example", (f"http://127.0.0.1:{port}",))
        assert await get(origins, f"http://127.0.0.1:{port}/1.ndjson") == 200
        assert len(heads) == 1


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async with listening() as (port, _):
        own = f"http://ehr.hospital.example:{port}"
        assert await get(Origins(own, resolve=Names(["127.0.0.2", "127.0.0.1"])), own) == 200


@asynccontextmanager
async def redirecting(target: str, status: int = 307) -> AsyncIterator[str]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_listed_server_goes_without_the_token(status: int) -> None:
    async with listening() as (port, heads), redirecting(f"http://127.0.0.1:{port}/moved", status) as base:
        origins = Origins(base, (f"http://127.0.0.1:{port}",))
        quick = Patience(attempts=1)
        async with FhirClient(base, FixedToken(b"t0ken"), origins=origins, patience=quick) as client:
            await client.get(client.url("metadata"), dict, where="metadata")
    assert len(heads) == 1
    assert b"authorization" not in heads[0].lower()
    assert b"t0ken" not in heads[0]


async def test_a_redirect_to_an_unlisted_server_is_not_followed() -> None:
    async with listening() as (port, heads), redirecting(f"http://127.0.0.1:{port}/moved") as base:
        client = FhirClient(base, FixedToken(b"t0ken"), patience=Patience(attempts=1))
        with pytest.raises(SourceUntrustworthy):
            await client.get(client.url("metadata"), dict, where="metadata")
        await client.__aexit__(None, None, None)
    assert heads == []


async def test_the_name_is_verified_not_the_address_connected_to(tmp_path: Path) -> None:
    """Whoever gets the name to mean another address still has no certificate for it."""
    own, other = tmp_path / "own", tmp_path / "other"
    for folder, name in ((own, "ehr.hospital.example"), (other, "other.example")):
        folder.mkdir()
        certificate(folder, 300, name)
    for folder, reached in ((own, True), (other, False)):
        tls = {"ssl_keyfile": str(folder / "tls.key"), "ssl_certfile": str(folder / "tls.pem")}
        with serving(Guarded({"keys": []}), **tls) as hospital:
            url = hospital.base_url.replace("127.0.0.1", "ehr.hospital.example") + "/metadata"
            transport = Origins(url, resolve=Names(["127.0.0.1"])).transport(ca_file=folder / "tls.pem")
            async with httpx.AsyncClient(transport=transport, trust_env=False, timeout=5) as http:
                if reached:
                    assert (await http.get(url)).status_code == 200
                else:
                    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                        await http.get(url)
