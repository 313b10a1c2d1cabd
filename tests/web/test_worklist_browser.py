"""A coordinator's and an investigator's whole task in a real browser, by keyboard too, and what axe finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapter.store.resources import ResourceStore
from tests.web.chromium import chromium, found_by_axe, listening, picture
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def enter(page: Page, base: str, role: str, path: str) -> None:
    """Sign in by the form and go on to a page."""
    page.goto(f"{base}{path}")
    page.locator("input[name=account]").fill(role)
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("form[action='/sign-in'] button").click()


WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_from_undetermined_to_written_back(tmp_path: Path, browser: Browser, language: str) -> None:
    """Find why somebody is undetermined, answer, see the verdict change, allow the write-back, see it."""
    from playwright.sync_api import expect

    words = {
        "en": (
            "Undetermined",
            "Answer now",
            "Treated or healed",
            "Sign and judge again",
            "Eligible",
            "Approve",
        ),
        "zh": ("未定", "立即确认", "已治疗或已愈合", "签署并重新判定", "符合", "批准"),
    }[language]
    undetermined, answer_now, treated, sign, eligible, approve = words
    subject = planted("ulcer-not-attested")
    with served(tmp_path) as (app, counter), listening(app) as base:
        context = browser.new_context(viewport=WIDE, locale={"en": "en-GB", "zh": "zh-CN"}[language])
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda fault: problems.append(str(fault)))
        # the list, what is missing there, and the person whose answer is
        enter(page, base, "investigator", "/worklist")
        expect(page.locator("table.people")).to_be_visible()
        assert found_by_axe(page) == []
        page.locator("input[name=state][value=undetermined]").check()
        expect(page).to_have_url(re.compile("state=undetermined"))
        picture(page, f"worklist-{language}")
        page.locator("select[name=cause]").select_option("attest")
        expect(page).to_have_url(re.compile("cause=attest"))
        expect(page.locator("table.people tbody tr")).to_have_count(
            sum("attest" in row.causes for row in counter.board().rows)
        )
        page.get_by_role("link", name=subject).click()
        # why
        expect(page.locator(".overall")).to_contain_text(undetermined)
        expect(page.locator(".todo")).to_contain_text("EXCL03")
        expect(page.locator("#c-EXCL03")).to_have_attribute("open", "")
        picture(page, f"patient-undetermined-{language}")
        assert found_by_axe(page) == []
        # the answer
        page.get_by_role("link", name=answer_now).click()
        assert found_by_axe(page) == []
        page.locator("#q-ulcer").get_by_label(treated).check()
        if language == "zh":
            picture(page, "attest-zh")
        page.get_by_role("button", name=sign).click()
        # judged again, the page goes on by itself
        expect(page.locator("#run")).to_be_visible()
        expect(page.locator(".overall")).to_contain_text(eligible, timeout=60_000)
        expect(page.locator("#run")).to_have_count(0)
        expect(page.locator("#notes")).to_contain_text("Dr Li")
        expect(page.locator("#c-EXCL03")).not_to_have_attribute("open", "")
        # leave to write back
        row = page.locator("#outbox tbody tr")
        expect(row).to_have_count(1)
        row.locator("input[name=reason]").fill("seen with the patient")
        row.locator("input[name=signature-password]").fill("once more")
        if language == "en":
            picture(page, "patient-eligible-en")
        row.locator("input[type=password]").fill(PASSWORD)
        row.get_by_role("button", name=approve, exact=True).click()
        expect(page.locator("#outbox")).to_contain_text("seen with the patient")
        counter.runs.wait()
        page.reload()
        expect(page.locator("#outbox")).to_contain_text("seen with the patient")
        expect(page.locator("#outbox")).to_contain_text(
            {"en": "the hospital holds it", "zh": "医院已接收"}[language]
        )
        assert found_by_axe(page) == []
        # and it is where it was written
        with ResourceStore(counter.engine).view() as shelf:
            [held] = shelf.search("ResearchSubject", {"patient": {f"Patient/{subject}"}})
        assert held["status"] == "candidate"
        assert problems == []
        context.close()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_somebody_on_the_study_and_the_study_page(tmp_path: Path, browser: Browser, language: str) -> None:
    from playwright.sync_api import expect

    subject = planted("combo-complete-below")
    with served(tmp_path) as (app, counter), listening(app) as base:
        context = browser.new_context(viewport=WIDE, locale={"en": "en-GB", "zh": "zh-CN"}[language])
        page = context.new_page()
        problems: list[str] = []
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        enter(page, base, "coordinator", f"/worklist/patients/{counter.board().key_of(subject)}")
        expect(page.locator("svg.chart")).to_be_visible()
        expect(page.locator("svg.chart title").first).to_have_text(re.compile("Course|变化"))
        assert page.locator("svg.chart path.bounded").count() > 0, (
            "the value below detection is an open triangle"
        )
        page.locator("#course").scroll_into_view_if_needed()
        page.locator("#course").screenshot(path=tmp_path / "course.png")
        picture(page, f"patient-on-study-{language}", full_page=False)
        page.locator("#course .spans a").nth(1).click()
        expect(page).not_to_have_url(re.compile("worklist$"))
        assert found_by_axe(page) == []
        page.goto(f"{base}/study")
        expect(page.locator("main")).to_contain_text("124")
        picture(page, f"study-{language}")
        assert found_by_axe(page) == []
        assert problems == []
        context.close()


def test_by_keyboard_alone(tmp_path: Path, browser: Browser) -> None:
    """Skip link, filters and the patient's criteria without a mouse."""
    from playwright.sync_api import expect

    with served(tmp_path) as (app, _), listening(app) as base:
        page = browser.new_context(viewport=WIDE, locale="en-GB").new_page()
        enter(page, base, "coordinator", "/worklist")
        expect(page.locator("table.people")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.locator("a.skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.locator("input[name=state]").first.focus()
        page.keyboard.press("Space")
        expect(page).to_have_url(re.compile("state=eligible"))
        page.locator("table.people tbody th a").first.focus()
        page.keyboard.press("Enter")
        summary = page.locator("details.criterion > summary").first
        summary.focus()
        page.keyboard.press("Enter")
        expect(page.locator("details.criterion").first).to_have_attribute("open", "")


def test_it_prints_whole_and_works_without_scripts(tmp_path: Path, browser: Browser) -> None:
    from playwright.sync_api import expect

    with served(tmp_path) as (app, counter), listening(app) as base:
        context = browser.new_context(viewport=WIDE, java_script_enabled=False, locale="en-GB")
        page = context.new_page()
        enter(page, base, "coordinator", "/worklist")
        page.locator("input[name=state]").first.check()
        page.locator(".filters button[type=submit]").first.click()
        expect(page).to_have_url(re.compile("state=eligible"))
        key = counter.board().key_of(planted("ulcer-not-attested"))
        page.goto(f"{base}/worklist/patients/{key}?whole=1")
        expect(page.locator("details.criterion:not([open])")).to_have_count(0)
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF")
        context.close()
