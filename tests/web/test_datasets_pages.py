"""The page of packages: which are listed, what is sent of them, and what the audit says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adapter.access import Grant, Principal
from adapter.config import Site
from adapter.store import audit
from adapter.store.audit import Sought
from adapter.store.database import open_database, reading
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from adapter.web.sponsor import Folders
from tests.shelves import FILES, SITE, STUDY, shelve
from tests.web.browser import Browser, Clock

Enter = Callable[[str], Browser]


@pytest.fixture
def snapshots(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_database(tmp_path / "adapter.sqlite")
    yield made
    made.dispose()


@pytest.fixture
def enter(snapshots: Path, engine: Engine) -> Enter:
    clock = Clock()

    def entered(role: str) -> Browser:
        place = SITE.lower()
        principal = Principal("dm", (Grant(role, STUDY, place),), "Data Manager", "process")
        premises = Premises(STUDY, place, Inside(principal), clock)
        folders = Folders(snapshots, snapshots.parent / "served")
        app = create_app(engine, clock, Site("", place), study=STUDY, premises=premises, packages=folders)
        return Browser(app)

    return entered


def pulls(engine: Engine) -> list[tuple[str, str, dict[str, Any]]]:
    with reading(engine) as connection:
        found = audit.newest(connection, Sought(action="pull"), 20)
    return [(one.actor, json.loads(one.what)[0], json.loads(one.detail)) for one in found]


async def test_what_is_of_this_study_site_and_profile_is_listed_newest_first(
    enter: Enter, snapshots: Path
) -> None:
    first, later = shelve(snapshots), shelve(snapshots, day="2019-09-01")
    others = [
        shelve(snapshots, study="NCT01180036"),
        shelve(snapshots, site="OTHER"),
        shelve(snapshots, profile="research"),
    ]
    browser = enter("sponsor")
    page = (await browser.open("/datasets")).text
    assert page.index(later) < page.index(first)
    assert [one for one in others if one in page] == []
    for one in (*others, "20190603-000000000000", "%2e%2e", f"{first}%2f%2e%2e"):
        assert (await browser.open(f"/datasets/{one}")).status_code == 404
        assert (await browser.open(f"/datasets/{one}/manifest.json")).status_code == 404


async def test_nothing_there_yet_is_said(enter: Enter) -> None:
    assert "adapter export" in (await enter("monitor").open("/datasets")).text


async def test_every_file_comes_as_it_is_and_its_hash_stands_on_the_page(
    enter: Enter, snapshots: Path, engine: Engine
) -> None:
    name, browser = shelve(snapshots), enter("sponsor")
    page = (await browser.open(f"/datasets/{name}")).text
    sums = (await browser.open(f"/datasets/{name}/SHA256SUMS")).text
    for path, content in FILES.items():
        digest = hashlib.sha256(content).hexdigest()
        assert digest in page
        assert f"{digest}  {path}\n" in sums
        got = await browser.open(f"/datasets/{name}/files/{path}")
        assert (got.status_code, got.content) == (200, content)
        assert got.headers["Content-Disposition"].startswith("attachment")
    part = await browser.get(f"/datasets/{name}/files/csv/lb.csv", headers={"Range": "bytes=0-4"})
    assert (part.status_code, part.content) == (206, FILES["csv/lb.csv"][:5])
    manifest = await browser.open(f"/datasets/{name}/manifest.json")
    assert manifest.content == (snapshots / name / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest.content).hexdigest() in page
    told = pulls(engine)
    assert len(told) == len(FILES) + 3
    assert ("dm", f"{name}/define.xml", {"page": "datasets", "status": 200, "bytes": 6}) in told


async def test_only_what_the_manifest_names_is_sent(enter: Enter, snapshots: Path) -> None:
    name, browser = shelve(snapshots), enter("sponsor")
    (snapshots / name / "notes.txt").write_text("not named")
    for path in ("notes.txt", "csv%2f%2e%2e%2fdefine.xml", "%2e%2e%2f%2e%2e%2fadapter.sqlite", "csv"):
        assert (await browser.open(f"/datasets/{name}/files/{path}")).status_code == 404


async def test_what_is_not_as_it_was_kept_is_not_sent(enter: Enter, snapshots: Path, engine: Engine) -> None:
    name, browser = shelve(snapshots), enter("sponsor")
    (snapshots / name / "define.xml").write_bytes(b"<XDM/>")
    assert (await browser.open(f"/datasets/{name}/files/define.xml")).status_code == 500
    assert pulls(engine)[0][2]["damaged"] == f"{name}/define.xml"
    (snapshots / name / "define.xml").write_bytes(b"longer than it was")
    page = (await browser.open("/datasets")).text
    assert "1 package(s) here are not as they were kept" in page
    assert name not in page
    assert (await browser.open(f"/datasets/{name}")).status_code == 500


@pytest.mark.parametrize("role", ["coordinator", "investigator", "admin"])
async def test_others_are_refused(enter: Enter, snapshots: Path, role: str) -> None:
    name, browser = shelve(snapshots), enter(role)
    for path in (
        "",
        f"/{name}",
        f"/{name}/manifest.json",
        f"/{name}/SHA256SUMS",
        f"/{name}/files/define.xml",
    ):
        assert (await browser.open(f"/datasets{path}")).status_code == 403
