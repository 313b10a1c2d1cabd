"""The frame: every page's head, headers and languages, and what a refusal looks like."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import Engine

from adapter.access import Grant, Principal
from adapter.web import frame
from adapter.web.access import Inside, Premises, allowed, open_to_all, require_declared, routes_of
from adapter.web.app import create_app
from adapter.web.texts import FOLDER, LANGUAGES, language_of, texts

PAGE = {"Accept": "text/html"}
Asks = Annotated[Principal, Depends(allowed("see-results"))]
TEMPLATES = sorted((frame.HERE / "templates").rglob("*.html"))


def somebody(role: str) -> Premises:
    return Premises("S1", "A", Inside(Principal("ann", (Grant(role, "S1", "A"),), "Ann Example")))


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1")


def test_both_languages_have_the_same_keys_and_the_same_gaps_to_fill() -> None:
    english, chinese = (texts(language) for language in LANGUAGES)
    assert set(english) == set(chinese)
    for key, text in english.items():
        assert sorted(re.findall(r"{(\w+)}", text)) == sorted(re.findall(r"{(\w+)}", chinese[key])), key


def test_every_key_in_a_template_exists() -> None:
    used = {
        key
        for page in TEMPLATES
        for key in re.findall(r"""\bt\(\s*"([^"]+)"\s*[,)]""", page.read_text("utf-8"))
    }
    assert len(used) > 5
    assert used - set(texts("en")) == set()


@pytest.mark.parametrize("page", TEMPLATES, ids=lambda page: page.name)
def test_no_template_has_script_or_style_inline(page: Path) -> None:
    """Which the content security policy would block without a word to the user."""
    text = page.read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe", text)


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,zh;q=0.9", "en"),
        ("fr,zh-TW;q=0.5,en;q=0.4", "zh"),
        ("zh;q=0", "en"),
        ("fr", "en"),
        ("zh;q=nonsense", "zh"),
    ],
)
def test_the_language_is_what_the_browser_asks_for(header: str, language: str) -> None:
    assert language_of(header) == language


async def test_every_answer_carries_the_policy_and_is_kept_by_nobody(database: Engine) -> None:
    async with client(create_app(database, premises=somebody("coordinator"))) as asks:
        for path in ("/", "/healthz", "/fhir/metadata", "/nowhere", "/fhir/Flag/none"):
            answer = await asks.get(path, headers=PAGE)
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
        style = re.search(r'href="(/static/adapter\.css\?\w+)"', (await asks.get("/", headers=PAGE)).text)
        assert style is not None
        kept = await asks.get(style[1])
        assert (kept.status_code, "immutable" in kept.headers["Cache-Control"]) == (200, True)


@pytest.mark.parametrize(("accept", "tag"), [("zh-CN", "zh-Hans"), ("en", "en")])
async def test_a_page_says_its_language_and_who_is_signed_in(database: Engine, accept: str, tag: str) -> None:
    async with client(create_app(database, premises=somebody("investigator"))) as asks:
        answer = await asks.get("/", headers={**PAGE, "Accept-Language": accept})
    assert f'<html lang="{tag}">' in answer.text
    assert "Ann Example" in answer.text
    assert texts("zh" if tag == "zh-Hans" else "en")["frame.skip"] in answer.text


async def test_the_choice_of_language_stays_and_leads_nowhere_else(database: Engine) -> None:
    async with client(create_app(database, premises=somebody("monitor"))) as asks:
        chosen = await asks.get("/language/zh?next=/", headers=PAGE)
        assert chosen.headers["location"] == "/"
        assert '<html lang="zh-Hans">' in (await asks.get("/", headers=PAGE)).text
        for away in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:x", "/\t/evil"):
            answer = await asks.get("/language/zh", params={"next": away})
            assert answer.headers["location"] == "/"


async def test_nobody_signed_in_is_led_to_the_sign_in_and_machines_get_401(database: Engine) -> None:
    async with client(create_app(database)) as asks:
        page = await asks.get("/", headers=PAGE)
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in")
        part = await asks.get("/", headers={**PAGE, "HX-Request": "true"})
        assert (part.status_code, part.headers["HX-Redirect"]) == (401, "/sign-in")
        machine = await asks.get("/fhir/Flag")
        assert (machine.status_code, machine.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert machine.json()["issue"][0]["code"] == "login"
        assert (await asks.put("/fhir/Flag/f", json={})).status_code == 401


async def test_a_role_without_the_action_is_403_and_another_place_404(database: Engine) -> None:
    async with client(create_app(database, premises=somebody("sponsor"))) as asks:
        assert (await asks.get("/fhir/Flag")).status_code == 403
        assert (await asks.get("/fhir/Flag", headers=PAGE)).status_code == 403
    elsewhere = somebody("coordinator")._replace(site="B")
    async with client(create_app(database, premises=elsewhere)) as asks:
        assert (await asks.get("/fhir/Flag")).status_code == 404
        page = await asks.get("/", headers=PAGE)
        assert (page.status_code, texts("en")["denied.404"] in page.text) == (404, True)
        assert "S1" not in page.text.split("<main")[1]


def test_a_route_that_declares_nothing_stops_the_application() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="GET /forgotten"):
        require_declared(app)


def test_a_route_declares_one_thing() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/both", dependencies=[Depends(open_to_all("by mistake"))])
    def both(principal: Asks) -> None: ...

    with pytest.raises(RuntimeError, match="GET /both"):
        require_declared(app)


def test_every_route_of_the_application_declares_something(database: Engine) -> None:
    found = list(routes_of(create_app(database)))
    assert len(found) > 10
    assert all(len(route.declared) == 1 for route in found)


def test_texts_lie_where_they_are_looked_for() -> None:
    assert {path.stem for path in FOLDER.rglob("*.yaml")} == set(LANGUAGES)
