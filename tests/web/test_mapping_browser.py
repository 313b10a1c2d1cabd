"""Two people's whole task: an unknown code, what it may be and what it would change, a second person's
signature, the verdict on the worklist, and the way back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adapter.web.texts import Language, Voice
from tests.web.chromium import chromium, enter, found_by_axe, listening, looking, picture
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted, trial

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CODE, CONCEPT = "NDB24X", "urine_protein_24h"
SUBJECT = "protein-unmapped"  # 9.2 g/24h under this code, and nothing else that decides


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["en", "zh"])
def test_map_a_code_and_see_the_impact(tmp_path: Path, browser: Browser, language: Language) -> None:
    from playwright.sync_api import expect

    t = Voice(language)
    shutil.copytree(trial().mappings, tmp_path / "mappings")
    here = trial()._replace(mappings=tmp_path / "mappings")
    file = tmp_path / "mappings" / "sites" / here.site.site_id / "codes.csv"
    before = file.read_bytes()
    with (
        served(tmp_path, here) as (app, counter),
        listening(app) as base,
        looking(browser, language) as proposer,
        looking(browser, language) as approver,
    ):
        patient = f"/worklist/patients/{counter.board().key_of(planted(SUBJECT))}"
        # the coordinator: undetermined, and a code that nobody has mapped
        enter(proposer, base, "coordinator", PASSWORD, patient)
        expect(proposer.locator(".overall")).to_contain_text(t("state.undetermined"))
        proposer.get_by_role("link", name=t("frame.mappings")).click()
        row = proposer.locator("tr", has=proposer.get_by_text(CODE, exact=True))
        expect(row).to_contain_text("9.2 g/24h")
        people = [int(one) for one in proposer.locator("tbody tr td:first-child").all_inner_texts()]
        assert people == sorted(people, reverse=True), "most people first"
        assert found_by_axe(proposer) == []
        picture(proposer, f"mappings-{language}")
        # a suggestion, and what it would change
        row.get_by_role("link", name=CONCEPT).click()
        expect(proposer.locator("input[name=code]")).to_have_value(CODE)
        expect(proposer.locator("input[name=concept]")).to_have_value(CONCEPT)
        assert found_by_axe(proposer) == []
        proposer.locator("textarea[name=reason]").fill("LIS handbook 2019, p. 4")
        proposer.get_by_role("button", name=t("mappings.try")).click()
        changed = proposer.locator("section[aria-labelledby=effect]")
        expect(changed).to_contain_text(re.compile(r"\b1\b.*\d"), timeout=60_000)
        expect(changed).to_contain_text(
            f"{t('mappings.overall-undetermined')} → {t('mappings.overall-eligible')}: 1"
        )
        assert found_by_axe(proposer) == []
        picture(proposer, f"mapping-effect-{language}")
        proposer.get_by_role("button", name=t("mappings.keep")).click()
        expect(proposer).to_have_url(f"{base}/mappings/proposals/1")
        # not by whoever proposed it
        expect(proposer.locator("main")).to_contain_text(t("mappings.second-person"))
        expect(proposer.get_by_role("button", name=t("mappings.approve"))).to_have_count(0)
        assert found_by_axe(proposer) == []
        assert file.read_bytes() == before
        # the second person sees the same effect, and signs
        enter(approver, base, "investigator", PASSWORD, "/mappings/proposals/1")
        expect(approver.locator("section[aria-labelledby=effect]")).to_contain_text(": 1", timeout=60_000)
        approver.locator("textarea[name=reason]").fill("checked with the laboratory")
        approver.locator("input[name=signature-password]").fill("not the password")
        approver.get_by_role("button", name=t("mappings.approve")).click()
        expect(approver.locator("main")).to_contain_text(t("denied.403"))
        assert file.read_bytes() == before
        approver.go_back()
        approver.locator("textarea[name=reason]").fill("checked with the laboratory")
        approver.locator("input[name=signature-password]").fill(PASSWORD)
        assert found_by_axe(approver) == []
        picture(approver, f"mapping-approve-{language}")
        approver.get_by_role("button", name=t("mappings.approve")).click()
        expect(approver.locator("main")).to_contain_text(t("mappings.state-approved"))
        assert f"{CODE},,{CONCEPT},AUTO,,coordinator,2019-06-03".encode() in file.read_bytes()
        # everybody is judged again, and the worklist has the verdict
        counter.runs.wait()
        assert counter.runs.failure == ""
        proposer.goto(f"{base}{patient}")
        expect(proposer.locator(".overall")).to_contain_text(t("state.eligible"))
        expect(proposer.locator("#c-INCL03A")).to_contain_text("9.2 g/d")
        # and back
        approver.goto(f"{base}/mappings/versions/1")
        expect(approver.locator("pre")).to_contain_text(CODE)
        approver.locator("textarea[name=reason]").fill("wrong kit")
        approver.locator("input[name=signature-password]").fill(PASSWORD)
        assert found_by_axe(approver) == []
        approver.get_by_role("button", name=t("mappings.roll-back")).click()
        expect(approver).to_have_url(f"{base}/mappings")
        expect(approver.locator("tr", has=approver.get_by_text(CODE, exact=True)).first).to_be_visible()
        assert file.read_bytes() == before
        counter.runs.wait()
        proposer.reload()
        expect(proposer.locator(".overall")).to_contain_text(t("state.undetermined"))
