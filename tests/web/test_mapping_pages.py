"""The mapping page as people use it: find an unknown code, see what mapping it changes, have it approved."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import Request
from sqlalchemy import Engine

from adapter import pipeline
from adapter.access import Grant, Principal
from adapter.demo import hospital
from adapter.store import audit
from adapter.store.audit import Sought
from adapter.store.database import open_database, reading
from adapter.store.mapping_log import MappingLog
from adapter.trial import Trial, Workspace
from adapter.web.access import Inside, Premises
from adapter.web.app import create_app
from adapter.web.worklist import Counter
from tests.web.browser import Browser, Clock

TRIAL = pipeline.open_trial()
STUDY, SITE = TRIAL.protocol.id, TRIAL.site.site_id
LIS = "https://fhir.demo-hospital.example/codes/lis-item"
ROW = {"file": "codes.csv", "system": LIS, "code": "NDB24X", "concept": "urine_protein_24h", "use": "AUTO"}


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("mapping-pages")
    made = hospital.generate(root / "hospital" / "fhir", patients=hospital.PLANTED + 30, gzip=False)
    workspace = Workspace(root / "work", embedded=True)
    pipeline.land(made.folder, workspace, now=datetime(2019, 6, 3, tzinfo=UTC))
    pipeline.screen(TRIAL, workspace, as_of=date(2019, 6, 3))
    return workspace


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(tmp_path / "adapter.sqlite")
    yield engine
    engine.dispose()


class Proven(Inside):
    """Signed in inside of this program, with the password ``right``."""

    async def proves(self, request: Request, principal: Principal, record_sha256: str) -> bool:
        return (await request.form()).get("signature-password") == "right"


class Desk:
    """The application as several people see it, over one database and one folder of mappings."""

    def __init__(self, trial: Trial, workspace: Workspace, engine: Engine) -> None:
        self.trial = trial
        self.engine = engine
        self.clock = Clock(datetime(2019, 6, 4, 9, tzinfo=UTC))
        self.counter = Counter(trial, workspace, engine, self.clock)

    def seen_by(self, account: str, role: str) -> Browser:
        principal = Principal(account, (Grant(role, STUDY, SITE),), account, "process")
        premises = Premises(STUDY, SITE, Proven(principal), self.clock)
        app = create_app(
            self.engine, self.clock, self.trial.site, study=STUDY, premises=premises, people=self.counter
        )
        return Browser(app)

    @property
    def codes(self) -> str:
        return (self.trial.mappings / "sites" / SITE / "codes.csv").read_text(encoding="utf-8")


@pytest.fixture
def desk(tmp_path: Path, screened: Workspace, engine: Engine) -> Desk:
    shutil.copytree(TRIAL.mappings, tmp_path / "mappings")
    workspace = Workspace(tmp_path / "work", embedded=True)
    shutil.copytree(screened.root, workspace.root)
    return Desk(TRIAL._replace(mappings=tmp_path / "mappings"), workspace, engine)


async def signed(browser: Browser, path: str, **fields: str) -> httpx.Response:
    """A form on a page, signed as it is shown there; ``path`` is where it goes."""
    page = (await browser.open(path.rpartition("/")[0])).text
    [shown] = set(re.findall(r'name="signature-record" value="([0-9a-f]{64})"', page))
    return await browser.submit(path, **{"signature-record": shown, "signature-password": "right", **fields})


async def test_from_an_unknown_code_to_a_row_in_the_file_and_back(desk: Desk) -> None:
    anna, bernd = desk.seen_by("anna", "coordinator"), desk.seen_by("bernd", "investigator")
    page = (await anna.open("/mappings")).text
    [line] = [one for one in page.split("<tr>") if "<code>NDB24X</code>" in one]
    assert "9.2 g/24h" in line
    [link] = re.findall(r'href="(/mappings/new\?of=[^"]*concept=urine_protein_24h[^"]*)"', line)

    form = await anna.open(link.replace("&amp;", "&"))
    assert f'value="{LIS}"' in form.text
    tried = await anna.submit("/mappings/new", **ROW, step="try")
    assert tried.status_code == 200
    assert "1 of 93 people would change overall" in tried.text
    assert MappingLog(desk.engine).proposals(SITE) == ()

    kept = await anna.submit("/mappings/new", **ROW, step="keep", reason="LIS handbook, p. 4")
    assert kept.headers["location"] == "/mappings/proposals/1"
    assert "A second person has to approve it" in (await anna.open("/mappings/proposals/1")).text
    assert (await anna.submit("/mappings/proposals/1/approve", reason="x")).status_code == 403
    assert "NDB24X" not in desk.codes

    shown = (await bernd.open("/mappings/proposals/1")).text
    assert "1 of 93 people would change overall" in shown
    approve = "/mappings/proposals/1/approve"
    unsigned = await bernd.submit(approve, reason="checked")
    assert unsigned.status_code == 409
    assert (await signed(bernd, approve, reason="x", **{"signature-password": "wrong"})).status_code == 403
    assert "NDB24X" not in desk.codes
    done = await signed(bernd, approve, reason="checked with the laboratory")
    assert done.status_code == 303
    assert "NDB24X,,urine_protein_24h,AUTO,,anna,2019-06-04" in desk.codes
    assert "NDB24X" not in (await anna.open("/mappings")).text.split("Proposals</h2>")[0]

    difference = (await bernd.open("/mappings/versions/1")).text
    assert "-https://fhir.demo-hospital.example/codes/lis-item,NDB24X" in difference
    assert (await signed(bernd, "/mappings/versions/1/rollback", reason="wrong kit")).status_code == 303
    assert "NDB24X" not in desk.codes
    with reading(desk.engine) as connection:
        rows = audit.newest(connection, Sought(actor="bernd"), 20)
    told = {one.action: json.loads(one.detail) for one in reversed(rows)}
    assert told["approved mapping"]["signature"]["meaning"] == "approval"
    assert told["mapping"]["signature"]["record"] == "mapping-version/1"


async def test_the_worklist_judges_by_an_approved_row(desk: Desk, screened: Workspace) -> None:
    anna, bernd = desk.seen_by("anna", "coordinator"), desk.seen_by("bernd", "investigator")
    await anna.submit("/mappings/new", **ROW, step="keep", reason="LIS handbook")
    await signed(bernd, "/mappings/proposals/1/approve", reason="checked")
    desk.counter.runs.wait(120)
    assert desk.counter.runs.failure == ""
    before = {one.subject: one.overall.value for one in pipeline.read_screening(screened).decisions}
    after = {row.subject: row.state for row in desk.counter.board().rows if row.subject in before}
    moved = {(before[one], after[one]) for one in before if before[one] != after[one]}
    assert ("undetermined", "eligible") in moved
    rows = pipeline.read_screening(desk.counter.workspace).facts.findings
    assert [row.concept for row in rows if row.code.code == "NDB24X"] == ["urine_protein_24h"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"concept": "urine_protien"}, "unknown concept"),
        ({"code": "UPRO24"}, "stands twice"),
        ({"system": "http://loinc.org", "code": "46248-1", "concept": "mtb_naa"}, "Borrelia"),
    ],
)
@pytest.mark.parametrize("step", ["try", "keep"])
async def test_what_the_tables_refuse_is_said_in_the_form(
    step: str, change: dict[str, str], says: str, desk: Desk
) -> None:
    answer = await desk.seen_by("anna", "coordinator").submit(
        "/mappings/new", **{**ROW, **change}, step=step, reason="handbook"
    )
    assert answer.status_code == 422
    assert says in answer.text
    assert f'value="{change.get("code", "NDB24X")}"' in answer.text
    assert MappingLog(desk.engine).proposals(SITE) == ()


async def test_whoever_proposed_it_takes_it_back_and_nobody_else(desk: Desk) -> None:
    anna, dora = desk.seen_by("anna", "coordinator"), desk.seen_by("dora", "coordinator")
    await anna.submit("/mappings/new", **ROW, step="keep", reason="LIS handbook")
    assert (await dora.submit("/mappings/proposals/1/withdraw", reason="no")).status_code == 403
    assert (await anna.submit("/mappings/proposals/1/withdraw", reason="wrong code")).status_code == 303
    assert MappingLog(desk.engine).proposal(1).state == "rejected"


async def test_a_sponsor_sees_codes_and_counts_and_nobody(desk: Desk, screened: Workspace) -> None:
    anna, sponsor = desk.seen_by("anna", "coordinator"), desk.seen_by("sam", "sponsor")
    await anna.submit("/mappings/new", **ROW, step="keep", reason="LIS handbook")
    pages = [(await sponsor.open(path)).text for path in ("/mappings", "/mappings/proposals/1")]
    people = {one.subject for one in pipeline.read_screening(screened).decisions}
    assert "NDB24X" in pages[0]
    assert [name for name in people if any(name in page for page in pages)] == []
    assert "mappings/new" not in "".join(pages)
    for path in ("/mappings/new", "/mappings/proposals/1/approve", "/mappings/versions/1/rollback"):
        assert (await sponsor.submit(path, **ROW)).status_code == 403


async def test_what_is_not_there(desk: Desk) -> None:
    bernd = desk.seen_by("bernd", "investigator")
    for path in ("/mappings/proposals/9", "/mappings/versions/9"):
        assert (await bernd.open(path)).status_code == 404
    assert (await bernd.submit("/mappings/proposals/9/approve", reason="x")).status_code == 404
    assert (await bernd.submit("/mappings/versions/9/rollback", reason="x")).status_code == 404


async def test_words_of_a_hospital_are_text_and_nothing_else(desk: Desk) -> None:
    row = {**ROW, "code": "<script>alert(1)</script>", "text": '"><img src=x>'}
    anna = desk.seen_by("anna", "coordinator")
    answer = await anna.submit("/mappings/new", **row, step="keep", reason="<b>why</b>")
    for page in (answer, await anna.open("/mappings"), await anna.open("/mappings/proposals/1")):
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "<b>why" not in page.text


@pytest.mark.parametrize(
    ("role", "shown"),
    [("coordinator", True), ("investigator", True), ("monitor", True), ("sponsor", False), ("admin", False)],
)
async def test_values_of_patients_are_on_the_page_of_who_may_see_results(
    desk: Desk, role: str, shown: bool
) -> None:
    page = (await desk.seen_by("somebody", role).open("/mappings")).text
    assert "NDB24X" in page
    assert ("9.2 g/24h" in page) is shown
