"""Signing in, the audit and a refusal in a real browser, by keyboard, in both languages; what axe finds."""

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
from tests.web.chromium import chromium, found_by_axe, listening, picture

PASSWORD = "four quiet lamps swim"


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with chromium() as made:
        yield made


@pytest.mark.parametrize("language", ["en", "zh"])
def test_sign_in_audit_and_sign_out_by_keyboard(tmp_path: Path, browser: object, language: Language) -> None:
    from playwright.sync_api import Browser, expect

    assert isinstance(browser, Browser)
    t, clock = Voice(language), Clock()
    engine = open_database(tmp_path / "adapter.sqlite")
    grants = [Grant("investigator", "S1", "A")]
    Accounts(engine).add("pi", "Dr Li", hash_password(PASSWORD), grants, now=clock(), by="root")
    app = create_app(engine, clock, Site(name="Hospital", site_id="A"), study="S1")
    with listening(app) as base:
        context = browser.new_context(locale={"en": "en-GB", "zh": "zh-CN"}[language])
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda fault: problems.append(str(fault)))
        page.goto(f"{base}/audit")
        expect(page).to_have_title(f"{t('sign-in.title')} · {t('frame.product')}")
        expect(page.locator("html")).to_have_attribute("lang", {"en": "en", "zh": "zh-Hans"}[language])
        assert found_by_axe(page) == []
        picture(page, f"sign-in-{language}")
        page.keyboard.type("pi")  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type("a wrong password")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text(t("sign-in.wrong"))
        assert found_by_axe(page) == []
        problems.clear()  # the browser itself says of the 401 that it failed
        page.keyboard.type("pi")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{base}/audit")
        expect(page.locator("tbody tr")).to_have_count(3)
        assert found_by_axe(page) == []
        picture(page, f"audit-{language}")
        page.locator("input[name=action]").fill("sign-in")
        page.get_by_role("button", name=t("audit.show")).click()
        expect(page.locator("tbody tr")).to_have_count(1)
        page.locator("tbody a").first.click()
        expect(page.locator("main")).to_contain_text(t("audit.holds"))
        assert found_by_axe(page) == []
        page.goto(f"{base}/audit")
        page.get_by_role("button", name=t("audit.verify")).click()
        expect(page.locator("h1")).to_have_text(t("audit.sound"))
        assert found_by_axe(page) == []
        page.get_by_role("button", name=t("frame.sign-out")).click()
        expect(page).to_have_url(f"{base}/sign-in")
        page.goto(f"{base}/audit")
        expect(page.locator("input[name=password]")).to_be_visible()
        assert problems == []
        context.close()
    engine.dispose()
