"""Ready or not, metrics, logs: enough to run it by, and nothing about anybody."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import Depends, FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from adapter import logs
from adapter.access import Grant, Principal
from adapter.errors import StoreUnavailable
from adapter.store.database import open_database
from adapter.web.access import Inside, Premises, open_to_all
from adapter.web.app import create_app
from adapter.web.operations import Requests
from tests.web.browser import Browser, Clock

CANARY = "CANARY"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "adapter.sqlite")
    yield engine
    engine.dispose()


def application(engine: Engine, role: str = "admin") -> FastAPI:
    clock = Clock()
    principal = Principal("otto", (Grant(role, "S1", "A"),), "Otto", "process")
    return create_app(engine, clock, study="S1", premises=Premises("S1", "A", Inside(principal), clock))


@pytest.fixture
def heard() -> Iterator[io.StringIO]:
    """Every log of the process, as the service writes it."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    stream = io.StringIO()
    logs.configure(stream, logging.DEBUG)
    yield stream
    root.handlers[:], root.level = before, level
    root.setLevel(level)


def lines(heard: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in heard.getvalue().splitlines()]


def metrics(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


# ---- ready ------------------------------------------------------------------------------------------


async def test_ready_while_the_database_answers(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(application(engine))
    assert (await browser.get("/readyz")).json() == {"status": "ready"}

    def gone(*_: object) -> None:
        raise StoreUnavailable("gone", where="database")

    monkeypatch.setattr("adapter.web.operations.standing.audit.head", gone)
    answer = await browser.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    scraped = metrics((await browser.get("/metrics")).text)
    assert scraped["adapter_database_up", frozenset()] == 0


# ---- metrics ----------------------------------------------------------------------------------------


async def test_requests_are_counted_by_the_route_and_never_by_the_path(engine: Engine) -> None:
    browser = Browser(application(engine))
    for path in (f"/fhir/Flag/{CANARY}", f"/{CANARY}/x", f"/fhir/Flag?_id={CANARY}", "/healthz", "/healthz"):
        await browser.get(path)
    await browser.request(CANARY, "/healthz")
    text = (await browser.get("/metrics")).text
    assert CANARY not in text
    found = metrics(text)
    assert found["adapter_http_requests_total",
                 frozenset({"method": "GET", "route": "/healthz", "status": "200"}.items())] == 2  # fmt: skip
    key = frozenset({"method": "GET", "route": "/healthz"}.items())
    assert found["adapter_http_request_seconds_count", key] == 2
    assert found["adapter_database_up", frozenset()] == 1


@pytest.mark.parametrize(
    ("role", "status"), [("admin", 200), ("service", 200), ("sponsor", 403), ("coordinator", 403)]
)
async def test_who_sees_metrics(role: str, status: int, engine: Engine) -> None:
    browser = Browser(application(engine, role))
    assert (await browser.get("/metrics")).status_code == status
    assert (await browser.open("/operations")).status_code == status


async def test_the_page_of_a_place_that_never_screened(engine: Engine) -> None:
    page = (await Browser(application(engine)).open("/operations")).text
    assert "never" in page


# ---- logs -------------------------------------------------------------------------------------------


async def test_a_request_is_one_line_with_its_route_and_a_number_to_ask_by(
    engine: Engine, heard: io.StringIO
) -> None:
    answer = await Browser(application(engine)).get(f"/fhir/Flag/{CANARY}", headers={"X-Test": CANARY})
    [line] = [one for one in lines(heard) if one["event"] == "request"]
    assert (line["method"], line["status"]) == ("GET", answer.status_code)
    assert line["request"] == answer.headers["x-request-id"]
    assert "{" in str(line["route"]) or line["route"] == "none"
    assert CANARY not in heard.getvalue()


async def test_a_fault_of_ours_is_told_by_its_class(heard: io.StringIO) -> None:
    from prometheus_client import CollectorRegistry

    app = FastAPI()
    app.add_middleware(Requests, registry=CollectorRegistry())

    @app.get("/x/{key}", dependencies=[Depends(open_to_all("a test"))])
    def broken(key: str) -> None:
        raise RuntimeError(key)

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get(f"/x/{CANARY}")).status_code == 500
    [line] = [one for one in lines(heard) if one["event"] == "request failed"]
    assert (line["route"], line["fault"]) == ("/x/{key}", "RuntimeError")
    assert CANARY not in heard.getvalue()


@pytest.mark.parametrize("name", ["httpx", "sqlalchemy.engine", "somebody.else", "adapter.web"])
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING, logging.ERROR])
def test_nothing_that_was_filled_in_is_logged(name: str, level: int, heard: io.StringIO) -> None:
    """Libraries log whole URLs; our own records say a fixed sentence, and what they were given stays out."""
    logging.getLogger(name).log(level, "GET %s", f"https://h/Patient?name={CANARY}")
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger(name).exception("failed %s", CANARY)
    assert CANARY not in heard.getvalue()
    assert {one.get("fault") for one in lines(heard)} >= {"ValueError"}


def test_a_library_may_put_a_whole_sentence_together_itself(heard: io.StringIO) -> None:
    logging.getLogger("some.library").warning(f"GET {CANARY}")
    assert [one["event"] for one in lines(heard)] == ["log"]
    assert CANARY not in heard.getvalue()


def test_fields_that_are_not_on_the_list_are_left_out_and_counted(heard: io.StringIO) -> None:
    logs.log().warning("screened", people=12, patient=CANARY, url=CANARY)
    [line] = lines(heard)
    assert (line["event"], line["people"], line["left_out"]) == ("screened", 12, 2)
    assert CANARY not in heard.getvalue()


def test_a_log_of_a_process_that_configured_none_holds_no_more(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    root.handlers[:] = []
    try:
        logs.log().error("screened", people=12, patient=CANARY)
    finally:
        root.handlers[:] = before
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err
