"""Changing one's own password in a real browser, by keyboard, in both languages; what axe finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapter.access import Grant
from adapter.access.passwords import hash_password
from adapter.config import Site
from adapter.store.accounts import Accounts
from adapter.store.database import open_database
from adapter.web.app import create_app
from adapter.web.texts import Language, Voice
from tests.web.browser import Clock
from tests.web.chromium import chromium, found_by_axe, listening

OLD, NEW = "four quiet lamps swim", "nine loud candles walk"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as made:
        yield made


@pytest.mark.parametrize("language", ["en", "zh"])
def test_another_password_by_keyboard(tmp_path: Path, browser: object, language: Language) -> None:
    from playwright.sync_api import Browser, Page, expect

    assert isinstance(browser, Browser)
    t, clock = Voice(language), Clock()
    engine = open_database(tmp_path / "adapter.sqlite")
    grants = [Grant("coordinator", "S1", "A")]
    Accounts(engine).add("ann", "Ann Example", hash_password(OLD), grants, now=clock(), by="root")

    def typed(page: Page, first: str, *words: str) -> None:
        page.get_by_label(first, exact=True).focus()
        for word in words:
            page.keyboard.type(word)
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")

    with listening(create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")) as base:
        page = browser.new_context(locale={"en": "en-GB", "zh": "zh-CN"}[language]).new_page()
        page.goto(base)
        typed(page, t("sign-in.account"), "ann", OLD)
        page.get_by_role("link", name="Ann Example").click()
        expect(page.get_by_role("heading", level=1)).to_have_text(t("account.title"))
        assert found_by_axe(page) == []
        typed(page, t("account.present"), OLD, "too short", "too short")
        expect(page.get_by_role("alert")).to_have_text(t("account.weak", n=15))
        assert found_by_axe(page) == []
        typed(page, t("account.present"), OLD, NEW, NEW)
        expect(page.get_by_role("status")).to_have_text(t("account.changed"))
        page.get_by_role("button", name=t("frame.sign-out")).click()
        typed(page, t("sign-in.account"), "ann", NEW)
        expect(page.get_by_role("link", name="Ann Example")).to_be_visible()
    engine.dispose()
