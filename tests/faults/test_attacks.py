"""Known attacks: XML, archives and names that escape, YAML that runs, lines that pass for ours.

Where a token may go and which addresses may be asked stands in ``test_origins.py``; formulas for spreadsheets
and escape sequences for terminals in ``test_bad_inputs_whole_line.py``.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import zstandard

import adapter
from adapter import pipeline
from adapter.config import product_folder
from adapter.errors import AdapterError, ExportError, MappingError, SourceUntrustworthy
from adapter.exports.located import read_located
from adapter.exports.own_xml import read_xml, transformed
from adapter.mappers.terminology import Terminology
from adapter.model.coverage import is_covered
from adapter.protocol.case_file import load_cases
from adapter.protocol.tree import read_tree
from adapter.source.client import FhirClient
from adapter.source.landing import land_folder
from adapter.source.search import search
from adapter.writeback.server import Server

NOW = datetime(2019, 6, 3, 12, tzinfo=UTC)
BASE = "https://fhir.hospital.example/r4"
PATIENT = b'{"resourceType":"Patient","id":"p1"}\n'


# ---- XML --------------------------------------------------------------------------------------------


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_the_adapter_has_no_pickle_and_reads_no_xml_but_its_own() -> None:
    """What is not there cannot resolve an external entity (CVE-2024-45294) or run a constructor."""
    dangerous = ("xml", "html.parser", "pickle", "shelve", "marshal", "dill", "tarfile", "zipfile")
    writers = {"define.py", "odm.py", "own_xml.py"}
    files = sorted(Path(adapter.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    found = {
        (path.name, name)
        for path in files
        for name in imports(path)
        if any(name == one or name.startswith(f"{one}.") for one in dangerous)
        or (name.split(".")[0] == "lxml" and path.name not in writers)
    }
    assert found == set()


READERS = {"parse", "fromstring", "fromstringlist", "XML", "HTML", "XMLID", "iterparse", "iterwalk",
           "XMLParser", "HTMLParser", "XMLPullParser", "XSLT"}  # fmt: skip


def test_one_place_reads_xml() -> None:
    calls = {
        (path.name, node.func.attr)
        for path in Path(adapter.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READERS
        and isinstance(node.func.value, ast.Name) and node.func.value.id in ("etree", "lxml", "html")
    }  # fmt: skip
    assert calls == {("own_xml.py", "XMLParser"), ("own_xml.py", "fromstring"), ("own_xml.py", "XSLT")}


@pytest.mark.parametrize(
    "prolog",
    [
        '<!DOCTYPE ODM [<!ENTITY leak SYSTEM "{secret}">]>',
        '<!DOCTYPE ODM [<!ENTITY % leak SYSTEM "{secret}"> %leak;]>',
        '<!DOCTYPE ODM SYSTEM "{secret}">',
        '<!DOCTYPE ODM [<!ENTITY leak "x">]>',
    ],
)
def test_a_document_type_in_a_kept_define_xml_is_refused(prolog: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    text = f'<?xml version="1.0"?>{prolog.format(secret=secret.as_uri())}<ODM>&leak;</ODM>'
    with pytest.raises(ExportError) as fault:
        read_xml(text.encode(), "define.xml")
    assert "CANARY" not in str(fault.value)


def test_a_stylesheet_reads_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text("<a>CANARY</a>")
    sheet = (
        '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
        f"<xsl:template match='/'><b><xsl:value-of select=\"document('{secret.as_uri()}')\"/></b>"
        "</xsl:template></xsl:stylesheet>"
    )
    with pytest.raises(ExportError):
        transformed(sheet.encode(), b"<ODM/>", "define.xml")


def entity(secret: Path) -> bytes:
    return (
        b'<?xml version="1.0"?><!DOCTYPE Bundle [<!ENTITY leak SYSTEM "' + secret.as_uri().encode() + b'">'
        b'<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        b'<Bundle xmlns="http://hl7.org/fhir"><id value="&leak;&b;"/></Bundle>'
    )


@pytest.mark.parametrize("media", ["application/fhir+xml", "application/fhir+json", "text/xml", ""])
@respx.mock
async def test_an_xml_answer_is_refused_unread(media: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("CANARY")
    answer = httpx.Response(200, content=entity(secret), headers={"Content-Type": media})
    route = respx.get(url__startswith=BASE).mock(return_value=answer)
    async with FhirClient(BASE) as client:
        with pytest.raises(SourceUntrustworthy, match="XML") as reading:
            await search(client, "Observation", {"patient": "Patient/p1"})
    async with Server(BASE) as server:
        with pytest.raises(SourceUntrustworthy) as writing:
            await server.search("ResearchSubject", study="ResearchStudy/s")
    for fault in (reading, writing):
        assert "CANARY" not in str(fault.value)
        assert "DOCTYPE" not in str(fault.value)
    assert all("json" in call.request.headers["Accept"] for call in route.calls)
    assert not any("xml" in call.request.headers["Accept"] for call in route.calls)


# ---- files that lead elsewhere ----------------------------------------------------------------------


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A bulk folder with one patient, beside a file that nobody asked for."""
    (tmp_path / "secret.ndjson").write_bytes(PATIENT.replace(b"p1", b"CANARY"))
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "Patient.ndjson").write_bytes(PATIENT)
    return folder


STRANGE: dict[str, Callable[[Path], object]] = {
    "a link to a file outside": lambda folder: (folder / "x.ndjson").symlink_to(
        folder.parent / "secret.ndjson"
    ),
    "a link to a system file": lambda folder: (folder / "x.ndjson").symlink_to("/etc/passwd"),
    "a relative link outside": lambda folder: (folder / "x.ndjson").symlink_to("../secret.ndjson"),
    "a link by way of a link": lambda folder: (
        (folder / "hop").symlink_to("../secret.ndjson"),
        (folder / "x.ndjson").symlink_to("hop"),
    ),
    "a link to nowhere": lambda folder: (folder / "x.ndjson").symlink_to("gone"),
    "a link to itself": lambda folder: (folder / "x.ndjson").symlink_to("x.ndjson"),
    "a folder": lambda folder: (folder / "x.ndjson").mkdir(),
    "a pipe that never ends": lambda folder: os.mkfifo(folder / "x.ndjson"),
    "an endless device": lambda folder: (folder / "x.ndjson.gz").symlink_to("/dev/zero"),
}  # fmt: skip


@pytest.mark.parametrize("put", STRANGE.values(), ids=STRANGE.keys())
@pytest.mark.parametrize("copy", [True, False])
def test_what_is_no_file_of_the_folder_is_refused(
    put: Callable[[Path], object], copy: bool, export: Path, tmp_path: Path
) -> None:
    put(export)
    with pytest.raises(SourceUntrustworthy, match=r"x\.ndjson") as caught:
        land_folder(export, tmp_path / "landing", now=NOW, copy=copy)
    assert caught.value.fix
    assert not (tmp_path / "landing").exists()
    assert not [path for path in tmp_path.iterdir() if path.name not in ("export", "secret.ndjson")]


def test_a_link_within_the_folder_is_a_file_like_any_other(export: Path, tmp_path: Path) -> None:
    (export / "Patient.2.ndjson").symlink_to("Patient.ndjson")
    assert land_folder(export, tmp_path / "landing", now=NOW).lines == 2


ELSEWHERE = [
    "../secret.ndjson",
    "file:///etc/passwd",
    "/etc/passwd.ndjson",
    "..%2fsecret.ndjson",
    "a/../../s",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_a_manifest_fetches_nothing_from_elsewhere(url: str, export: Path, tmp_path: Path) -> None:
    """The manifest of a folder only says what should be there; nothing it names is opened."""
    manifest = {
        "transactionTime": "2019-06-03T00:00:00Z",
        "request": f"{BASE}/$export",
        "requiresAccessToken": False,
        "output": [{"type": "Patient", "url": f"{BASE}/Patient.ndjson"}, {"type": "Condition", "url": url}],
        "error": [],
    }
    (export / "manifest.json").write_text(json.dumps(manifest))
    landing = land_folder(export, tmp_path / "landing", now=NOW)
    assert [raw.line for raw in landing.resources()] == [PATIENT.strip()]
    inside = {path.name for path in (tmp_path / "landing").rglob("*") if path.is_file()}
    assert "secret.ndjson" not in inside
    assert not any(b"CANARY" in p.read_bytes() for p in (tmp_path / "landing").rglob("*") if p.is_file())
    assert not is_covered(landing.coverage, "Condition", "p1", None, None)


def test_a_name_inside_gzip_is_no_path(export: Path, tmp_path: Path) -> None:
    """RFC 1952: a member may carry a file name; ours are named by the folder they lie in."""
    body = gzip.compress(PATIENT.replace(b"p1", b"p2"), mtime=0)
    named = body[:3] + b"\x08" + body[4:10] + b"../../escaped.ndjson\x00" + body[10:]
    (export / "Patient.2.ndjson.gz").write_bytes(named)
    landing = land_folder(export, tmp_path / "landing", now=NOW)
    assert landing.lines == 2
    assert not list(tmp_path.rglob("escaped*"))


def test_gzip_that_lies_about_its_size(export: Path, tmp_path: Path) -> None:
    """200 MB of blanks in 200 kB, and a trailer that says 36 bytes: what comes out is counted."""
    bomb = bytearray(gzip.compress(b" " * 200_000_000, 9))
    bomb[-4:] = struct.pack("<I", 36)
    (export / "Patient.2.ndjson.gz").write_bytes(bomb)
    assert len(bomb) < 250_000
    with pytest.raises(SourceUntrustworthy, match="unpacks to more"):
        land_folder(export, tmp_path / "landing", now=NOW)


def test_many_small_bombs_in_one_file(export: Path, tmp_path: Path) -> None:
    """Members follow one another in a gzip file: together they are judged as one."""
    member = gzip.compress(b" " * 1_000_000, 9)
    (export / "Patient.2.ndjson.gz").write_bytes(member * 100)
    with pytest.raises(SourceUntrustworthy, match="unpacks to more"):
        land_folder(export, tmp_path / "landing", now=NOW)


def test_zstd_that_says_much_with_little(export: Path, tmp_path: Path) -> None:
    """200 MB in some kilobytes: zstd needs four bytes for 128 KiB of one character."""
    bomb = zstandard.compress(b" " * 200_000_000, 19)
    (export / "Patient.2.ndjson.zst").write_bytes(bomb)
    assert len(bomb) < 25_000
    with pytest.raises(SourceUntrustworthy, match="unpacks to more"):
        land_folder(export, tmp_path / "landing", now=NOW)


# ---- YAML that runs ---------------------------------------------------------------------------------

EVIL = {
    "a command": '!!python/object/apply:os.system ["touch pwned"]',
    "a command as a text": "!!python/object/apply:os.system 'touch pwned'",
    "a module": "!!python/module:os ''",
    "a name": "!!python/name:os.system ''",
    "an object": "!!python/object:subprocess.Popen {args: [touch, pwned]}",
    "a tag of somebody's": "!include /etc/passwd",
    "bytes": "!!binary aGVsbG8=",
}


def yaml_readers() -> dict[str, Callable[[Path], object]]:
    return {
        "concepts.yaml": lambda folder: Terminology.load(folder, None),
        "protocols/NCT03864250/protocol.yaml": lambda folder: pipeline.open_trial(
            folder / "protocols" / "NCT03864250", site="", mappings=folder
        ),
        "protocols/NCT03864250/cases.yaml": lambda folder: load_cases(
            folder / "protocols" / "NCT03864250" / "cases.yaml", "http://q.example"
        ),
        "sdtm/lb.yaml": lambda folder: read_located(folder / "sdtm" / "lb.yaml"),
    }


@pytest.fixture(scope="module")
def mappings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("product") / "mappings"
    shutil.copytree(product_folder("mappings"), folder)
    return folder


@pytest.mark.parametrize("name", yaml_readers())
@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_yaml_is_data_and_a_tag_is_refused_with_its_line(
    name: str, evil: str, mappings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = mappings / name
    good = path.read_text(encoding="utf-8")
    line = good.count("\n") + 1
    path.write_text(f"{good}evil: {evil}\n", encoding="utf-8")
    try:
        with pytest.raises(MappingError) as caught:
            yaml_readers()[name](mappings)
    finally:
        path.write_text(good, encoding="utf-8")
    assert caught.value.where.partition(".yaml:")[2].split(":")[0] == str(line)
    assert "tag" in caught.value.message
    assert caught.value.fix
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", yaml_readers())
def test_a_billion_laughs_are_refused_at_the_first(name: str, mappings: Path) -> None:
    path = mappings / name
    good = path.read_text(encoding="utf-8")
    lines = ['a0: &a0 ["ha", "ha"]']
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path.write_text(good + "\n".join(lines) + "\n", encoding="utf-8")
    try:
        with pytest.raises(MappingError, match="alias"):
            yaml_readers()[name](mappings)
    finally:
        path.write_text(good, encoding="utf-8")


def test_trees_are_composed_and_never_constructed(tmp_path: Path) -> None:
    path = tmp_path / "protocol.yaml"
    path.write_text("a: 1\nb: !!python/name:os.system ''\n")
    with pytest.raises(MappingError, match=r"python/name:os\.system") as caught:
        read_tree(path)
    assert caught.value.where == "protocol.yaml:2"


# ---- lines that pass for ours -----------------------------------------------------------------------


def patient(name: str) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": name, "gender": "male", "birthDate": "1970-05-01"}


def diagnosis(name: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"c-{name}",
        "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
        "subject": {"reference": f"Patient/{name}"},
        "recordedDate": "2019-05-01",
    }


def test_an_id_cannot_add_a_row_to_our_files(tmp_path: Path) -> None:
    """Line breaks in ids stay inside their row: decisions and facts have as many lines as rows."""
    forged = 'p1\\n{"subject":"p9","overall":"eligible"}'
    folder = tmp_path / "export"
    folder.mkdir()
    rows = [made(name) for name in ("p1", forged.replace("\\n", "\n")) for made in (patient, diagnosis)]
    (folder / "all.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    workspace = pipeline.Workspace(tmp_path / "workspace")
    trial = pipeline.open_trial(site="")
    pipeline.land(folder, workspace, now=NOW)
    screening = pipeline.screen(trial, workspace, as_of=date(2019, 6, 3))
    assert screening.sifted.balanced
    kept = pipeline.read_screening(workspace)
    assert kept.decisions == screening.decisions
    assert "p9" not in {one.subject for one in kept.decisions}
    text = (workspace.screening / "decisions.ndjson").read_bytes()
    assert text.count(b"\n") == len(kept.decisions)


def test_a_fault_told_to_the_terminal_steers_nothing(tmp_path: Path) -> None:
    """A folder whose name holds an escape sequence: the message shows it spelled out."""
    folder = tmp_path / "export\x1b[31m\nadapter: all is well"
    command = [sys.executable, "-c", "from adapter.cli import main; main()", "fetch", "--folder", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode != 0
    assert "\x1b" not in done.stdout + done.stderr


def test_every_fault_says_what_to_do(export: Path, tmp_path: Path) -> None:
    (export / "x.ndjson").mkdir()
    with pytest.raises(AdapterError) as caught:
        land_folder(export, tmp_path / "landing", now=NOW)
    assert (caught.value.where, caught.value.fix) == ("x.ndjson", "move it elsewhere")
