"""From an open question to a real hospital: why somebody is undetermined, the answer, the verdict, a signed
write-back to HAPI FHIR, and what that server then holds, asked by plain HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.contract.planted import load, record_of
from tests.web.chromium import chromium, enter, found_by_axe, listening, looking, picture
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import hospital_folder, planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser

AT_ONCE = 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_until_it_stands_at_the_hospital(tmp_path: Path, hapi_base_url: str, browser: Browser) -> None:
    from playwright.sync_api import expect

    subject = planted("ulcer-not-attested")
    load(hapi_base_url, record_of(hospital_folder(), subject), AT_ONCE)

    def asked(path: str) -> dict[str, Any]:
        fresh = {"Cache-Control": "no-cache"}
        answer = httpx.get(f"{hapi_base_url}/{path}", headers=fresh, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text[:500]
        found: dict[str, Any] = answer.json()
        return found

    def found(query: str) -> list[dict[str, Any]]:
        return [entry["resource"] for entry in asked(query).get("entry", [])]

    assert found(f"ResearchSubject?patient=Patient/{subject}") == []
    with (
        served(tmp_path, base_url=hapi_base_url) as (app, counter),
        listening(app) as base,
        looking(browser) as page,
    ):
        key = counter.board().key_of(subject)
        enter(page, base, "investigator", PASSWORD, f"/worklist/patients/{key}")
        expect(page.locator(".overall")).to_contain_text("Undetermined")
        expect(page.locator(".todo")).to_contain_text("EXCL03")
        page.get_by_role("link", name="Answer now").click()
        page.locator("#q-ulcer").get_by_label("Treated or healed").check()
        page.get_by_role("button", name="Sign and judge again").click()
        expect(page.locator(".overall")).to_contain_text("Eligible", timeout=120_000)
        expect(page.locator("#run")).to_have_count(0, timeout=120_000)
        row = page.locator("#outbox tbody tr")
        expect(row).to_have_count(1)
        expect(row.locator("code")).to_have_count(0)  # nothing is at the hospital before somebody signs
        assert found(f"ResearchSubject?patient=Patient/{subject}") == []
        row.locator("input[name=reason]").fill("seen with the patient")
        row.locator("input[type=password]").fill(PASSWORD)
        row.get_by_role("button", name="Approve", exact=True).click()
        expect(row).to_contain_text("Approved by")
        counter.runs.wait(240)
        assert counter.runs.failure == ""
        page.reload()
        expect(row).to_contain_text("the hospital holds it")
        shown = dict(one.split(" v") for one in row.locator("code").all_inner_texts())
        answers = page.locator("#notes code").all_inner_texts()
        assert found_by_axe(page) == []
        row.scroll_into_view_if_needed()
        picture(page, "patient-written-en")

    # ids and versions are those of the page
    (standing,) = found(f"ResearchSubject?patient=Patient/{subject}")
    flags = found(f"Flag?patient=Patient/{subject}")  # the hospital may have some of its own
    (flag,) = (one for one in flags if one["code"]["coding"][0]["code"] == "candidate")
    (provenance,) = found(f"Provenance?target=ResearchSubject/{standing['id']}")
    held = {
        f"{one['resourceType']}/{one['id']}": one["meta"]["versionId"] for one in (standing, flag, provenance)
    }
    assert shown.items() >= held.items()
    for reference, version in shown.items():  # the study and the device too
        assert asked(f"{reference}/_history/{version}")["meta"]["versionId"] == version
    assert (standing["status"], flag["status"]) == ("candidate", "active")
    assert standing["individual"]["reference"] == f"Patient/{subject}"
    # and the answer that decided is among what the verdict rests on
    (answer,) = answers
    reference, _, version = answer.partition(" v")
    assert reference.startswith("QuestionnaireResponse/")
    rests_on = [str(entity) for entity in provenance["entity"]]
    assert any(reference in one for one in rests_on)
    assert any(reference in one and repr(version) in one for one in rests_on)
