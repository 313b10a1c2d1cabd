"""Every page on a narrow screen, enlarged, by keyboard and on paper.

WCAG 2.2: 1.4.4 Resize Text (200 %), 1.4.10 Reflow (320 CSS pixels without scrolling in two directions; data
tables may scroll in their own frame), 2.1.1 Keyboard, 2.4.1 Bypass Blocks, 2.4.3 Focus Order, 2.4.7 Focus
Visible, 2.4.11 Focus Not Obscured."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from adapter import pipeline
from adapter.web.worklist.counter import Counter
from tests.web.chromium import chromium, enter, found_by_axe, listening, looking, picture
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NARROW, ENLARGED = (320, 640), (640, 450)  # 1280 x 900 at 400 % and at 200 %
FIRST = {"admin": "/operations", "sponsor": "/datasets", "investigator": "/worklist"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Counter]]:
    with served(tmp_path_factory.mktemp("house"), packages=True) as (app, counter), listening(app) as base:
        pipeline.export(counter.trial, counter.workspace, key=b"0123456789abcdef")
        yield base, counter


def pages_of(role: str, counter: Counter) -> list[str]:
    if role == "admin":
        return ["/", "/operations", "/mappings", "/audit"]
    if role == "sponsor":
        (kept,) = (one.name for one in counter.workspace.snapshots.iterdir() if one.is_dir())
        return ["/datasets", f"/datasets/{kept}"]
    undetermined, followed = (
        f"/worklist/patients/{counter.board().key_of(planted(story))}"
        for story in ("ulcer-not-attested", "combo-complete-below")
    )
    whole = f"{undetermined}?whole=1"
    return ["/worklist", "/study", undetermined, whole, f"{undetermined}/attest", followed]


def wider_than_the_window(page: Page) -> list[str]:
    """What sticks out to the right, apart from what scrolls in a frame of its own."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
            .filter(one => !one.closest('.scroll, .skip') && getComputedStyle(one).position !== 'absolute')
            .map(one => one.tagName + '.' + one.className + ' ' + one.textContent.trim().slice(0, 40))"""
    )
    across = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    return found[:10] if across > 0 else []


@pytest.mark.parametrize("role", list(FIRST))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_reflows(browser: Browser, house: tuple[str, Counter], role: str, language: str) -> None:
    base, counter = house
    wrong = []
    with looking(browser, language) as page:
        page.goto(base)
        for width, height in (NARROW, ENLARGED):
            page.set_viewport_size({"width": width, "height": height})
            wrong += [f"/sign-in at {width}: {one}" for one in wider_than_the_window(page)]
        assert found_by_axe(page) == []
        enter(page, base, role, PASSWORD, FIRST[role])
        for path in pages_of(role, counter):
            page.goto(f"{base}{path}")
            for width, height in (NARROW, ENLARGED):
                page.set_viewport_size({"width": width, "height": height})
                wrong += [f"{path} at {width}: {one}" for one in wider_than_the_window(page)]
            if language == "en":
                wrong += [f"{path}: {one}" for one in found_by_axe(page)]
    assert wrong == []


def tab(page: Page) -> str:
    """On to the next; says what has the focus. It has to be seen, and to be told from the others."""
    page.keyboard.press("Tab")
    seen = page.evaluate(
        """() => {
            const one = document.activeElement, style = getComputedStyle(one);
            const box = one.getBoundingClientRect();
            const shown = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
            const name = one.name || one.getAttribute('href') || one.textContent;
            return {
                name: (one.tagName + ' ' + name).trim(),
                shown, ring: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
            };
        }"""
    )
    assert seen["shown"], f"{seen['name']} has the focus and is out of sight"
    assert seen["ring"], f"{seen['name']} has the focus and does not show it"
    return str(seen["name"])


def tab_to(page: Page, wanted: str, most: int = 80) -> list[str]:
    """Tab until the name fits; every stop on the way."""
    stops: list[str] = []
    while not re.search(wanted, tab(page)) and len(stops) < most:
        stops.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert len(stops) < most, f"{wanted} is not reached: {stops}"
    return stops


def test_a_note_by_keyboard_alone(browser: Browser, house: tuple[str, Counter]) -> None:
    """From the sign-in page to a note on a patient: Tab, Enter, arrows and letters."""
    from playwright.sync_api import expect

    base, counter = house
    subject = planted("ulcer-not-attested")
    with looking(browser) as page:
        page.goto(f"{base}/worklist?state=undetermined&cause=attest")
        page.keyboard.type("coordinator")  # the first field has the focus
        assert tab(page) == "INPUT password"
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("table.people")).to_be_visible()
        # past the navigation
        assert tab(page) == "A #content"
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        tab_to(page, f"A /worklist/patients/{counter.board().key_of(subject)}")
        page.keyboard.press("Enter")
        expect(page.locator(".overall")).to_contain_text("Undetermined")
        # the note's fields come in the order in which they are read
        tab(page)
        page.keyboard.press("Enter")
        stops = tab_to(page, "SELECT stand", most=200)
        assert any(one.startswith("EXCL03") for one in stops), "the open criterion is on the way"
        page.keyboard.press("ArrowDown")
        expect(page.locator("select[name=stand]")).to_have_value("approach")
        assert tab(page) == "TEXTAREA words"
        page.keyboard.type("asked about the ulcer by telephone")
        tab_to(page, "BUTTON", most=3)
        page.keyboard.press("Enter")
        expect(page.locator("#notes .history")).to_contain_text("asked about the ulcer by telephone")
        expect(page.locator(".answer")).to_contain_text("Approach")


@pytest.mark.parametrize("story", ["ulcer-not-attested", "combo-complete-below"])
def test_a_patient_on_paper(browser: Browser, house: tuple[str, Counter], story: str) -> None:
    """What a person needs is on the sheets, what only a screen needs is not, and nothing is cut off."""
    base, counter = house
    key = counter.board().key_of(planted(story))
    with looking(browser) as page:
        enter(page, base, "investigator", PASSWORD, f"/worklist/patients/{key}?whole=1")
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1016})  # A4 at 96 dpi, less Chromium's 1 cm margins
        assert page.locator(".top, .skip, form, .button, #run, .spans").locator("visible=true").count() == 0
        assert page.locator("details.criterion .chain").first.is_visible()
        if story == "ulcer-not-attested":
            picture(
                page,
                "patient-printed-en",
                clip={"x": 0, "y": 0, "width": 718, "height": 1016},
                full_page=True,
            )
        across = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert across <= 0, wider_than_the_window(page)
        cut = page.evaluate(
            """() => [...document.querySelectorAll('table')]
                .filter(one => one.getBoundingClientRect().right > innerWidth + 1)
                .map(one => one.textContent.trim().slice(0, 60))"""
        )
        assert cut == []
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF")
