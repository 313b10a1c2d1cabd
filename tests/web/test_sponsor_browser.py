"""A data manager's whole task: find the package, look at what it is, pull it by browser and by command, check
every hash; and what is not theirs is refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from adapter import pipeline
from adapter.cli.app import app as command
from adapter.store import audit
from adapter.store.audit import Sought
from adapter.store.database import reading
from adapter.web.texts import Language, Voice
from adapter.web.worklist.counter import Counter
from tests.web.chromium import chromium, enter, found_by_axe, listening, looking, picture
from tests.web.worklist_app import PASSWORD, served
from tests.worklist_case import planted

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Counter]]:
    """Where a site with one exported package is served."""
    with (
        served(tmp_path_factory.mktemp("office"), packages=True) as (app, counter),
        listening(app) as base,
    ):
        pipeline.export(counter.trial, counter.workspace, key=b"0123456789abcdef")
        yield base, counter


def run(*words: str) -> str:
    done = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def fetched(page: Page, path: str, to: Path) -> Path:
    """What a click on a file brings."""
    with page.expect_download() as coming:
        page.locator(f"a[href$='{path}']").first.click()
    target = to / path.replace("/", "-")
    coming.value.save_as(target)
    return target


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_find_check_and_pull_a_package(
    tmp_path: Path, browser: Browser, office: tuple[str, Counter], language: Language
) -> None:
    from playwright.sync_api import expect

    base, counter = office
    t = Voice(language)
    (kept,) = (one for one in counter.workspace.snapshots.iterdir() if one.is_dir())
    manifest = json.loads((kept / "manifest.json").read_bytes())
    with looking(browser, language) as page:
        enter(page, base, "sponsor", PASSWORD, "/")
        page.get_by_role("main").get_by_role("link", name=t("frame.datasets")).click()
        expect(page.locator("tbody tr")).to_have_count(1)
        assert found_by_axe(page) == []
        picture(page, f"datasets-{language}")
        page.get_by_role("link", name=kept.name).click()
        expect(page.locator("h1")).to_contain_text(kept.name)
        expect(page.locator("table.facts")).to_contain_text("SDTMIG 3.4")
        expect(page.locator("table.facts")).to_contain_text(sha256(kept / "manifest.json"))
        expect(page.locator("table.facts time")).to_have_attribute("datetime", manifest["snapshotTime"])
        expect(page.locator(".notice.good")).to_have_count(2)  # SDTM and ADaM, neither with an error
        assert found_by_axe(page) == []
        picture(page, f"package-{language}")
        assert "CANARY" not in page.content()  # the hospital's own names and numbers of people
        # by browser: the page's hash, the file's and the manifest's are one
        page.locator("details.all-files > summary").click()
        told = next(one for one in manifest["datasets"] if one["name"] == "LB")["files"]["xpt/lb.xpt"]
        row = page.locator("details.all-files tr", has_text="xpt/lb.xpt")
        expect(row).to_contain_text(told["sha256"])
        expect(row.locator(".number")).to_have_text(str(told["bytes"]))
        assert found_by_axe(page) == []
        laboratory = fetched(page, "files/xpt/lb.xpt", tmp_path)
        assert (sha256(laboratory), laboratory.stat().st_size) == (told["sha256"], told["bytes"])
        assert sha256(fetched(page, "manifest.json", tmp_path)) == sha256(kept / "manifest.json")
        sums = fetched(page, "SHA256SUMS", tmp_path).read_text("utf-8").splitlines()
        # by command, as the page says it
        said = page.locator("pre").inner_text()
        (address,) = set(re.findall(r"adapter pull (\S+)", said))
        assert address == f"{base}/sponsor"
    token = tmp_path / "token"
    workspace = str(counter.workspace.root)
    run("sponsor", "grant", f"statistics-{language}", "--workspace", workspace, "--out", str(token))
    run("pull", address, "--to", str(tmp_path / "data"), "--token-file", str(token))
    pulled = tmp_path / "data"
    assert sha256(pulled / "xpt" / "lb.xpt") == sha256(laboratory)
    assert len(sums) == sum(1 for one in pulled.rglob("*") if one.is_file()) - 1  # the manifest itself
    for line in sums:
        digest, path = line.split("  ")
        assert sha256(pulled / path) == digest
    with reading(counter.engine) as connection:
        rows = audit.newest(connection, Sought(action="pull", actor="sponsor"), 9)
    told_of = {json.loads(one.what)[0].partition("/")[2]: json.loads(one.detail) for one in rows}
    assert told_of["xpt/lb.xpt"] == {"page": "datasets", "status": 200, "bytes": told["bytes"]}


def test_what_is_not_a_sponsors_is_refused(browser: Browser, office: tuple[str, Counter]) -> None:
    from playwright.sync_api import expect

    base, counter = office
    subject = planted("ulcer-not-attested")
    key = counter.board().key_of(subject)
    with looking(browser) as page:
        enter(page, base, "sponsor", PASSWORD, "/datasets")
        expect(page.locator("nav a")).to_have_text(["Mappings", "Datasets", "Audit"])
        for path in ("/worklist", f"/worklist/patients/{key}", "/study", "/operations"):
            answer = page.goto(f"{base}{path}")
            assert answer is not None
            assert answer.status == 403, path
            expect(page.locator("main")).to_contain_text("Your role does not allow this.")
            assert subject not in page.content()
            assert found_by_axe(page) == []
        page.goto(f"{base}/audit")
        actions = set(page.locator("tbody td:nth-child(4)").all_inner_texts())
        assert actions <= {"export", "grant", "pull", "pulled", "revoke"}
        assert subject not in page.content()
    with looking(browser) as page:
        enter(page, base, "coordinator", PASSWORD, "/worklist")
        answer = page.goto(f"{base}/datasets")
        assert answer is not None
        assert answer.status == 403
