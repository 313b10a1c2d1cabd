"""What lands, and what a landing says about itself, as tables."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from adapter.errors import ConfigError, SourceUntrustworthy
from adapter.model.coverage import is_covered
from adapter.source.landing import LandingWriter, Tally, land_folder, open_landing
from adapter.source.ndjson import Limits, NdjsonFile, lines_in, one_line, read_folder, type_in_name

NOW = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
O1 = b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"},"v":1.10}'
O2 = b'{"resourceType":"Observation","id":"o2","subject":{"reference":"Patient/p2"}}'
P1 = b'{"resourceType":"Patient","id":"p1"}'
M1 = b'{"resourceType":"Medication","id":"m1"}'


def folder(tmp_path: Path, files: Mapping[str, bytes]) -> Path:
    made = tmp_path / "export"
    made.mkdir()
    for name, content in files.items():
        (made / name).write_bytes(content)
    return made


@pytest.mark.parametrize(
    ("content", "lines", "issues"),
    [
        (O1 + b"\n" + O2 + b"\n", {1: O1, 2: O2}, []),
        (b"\xef\xbb\xbf" + O1 + b"\n", {1: O1}, []),
        (O1 + b"\r\n" + O2 + b"\r\n", {1: O1, 2: O2}, []),
        (b"\n\n" + O1 + b"\n  \n" + O2 + b"\n\n", {3: O1, 5: O2}, []),
        (O1 + b"\n" + O2, {1: O1, 2: O2}, []),
        (O1 + b"\n" + O2[:40], {1: O1, 2: O2[:40]}, [("TRUNCATED_LINE", "Observation.ndjson:2")]),
        (O1 + b"\nnot json\n", {1: O1, 2: b"not json"}, []),
        (b"", {}, []),
    ],
    ids=["plain", "BOM", "CRLF", "blank lines", "no last line end", "cut short", "malformed", "empty"],
)
def test_lines_of_a_file(
    tmp_path: Path, content: bytes, lines: dict[int, bytes], issues: list[object]
) -> None:
    path = folder(tmp_path, {"Observation.ndjson": content}) / "Observation.ndjson"
    for block in (10, 2**20):
        file = NdjsonFile(path, Limits(block=block))
        assert dict(file.lines()) == lines
        assert [(issue.code, issue.reference) for issue in file.issues] == issues
        assert sum(lines_in(block.data) for block in file.blocks()) == len(lines)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Observation.ndjson", "Observation"),
        ("Observation.000.ndjson.gz", "Observation"),
        ("1.MedicationRequest.ndjson", "MedicationRequest"),
        ("part-0001_Condition.ndjson", "Condition"),
        ("export.ndjson", ""),
    ],
)
def test_type_a_file_name_announces(name: str, kind: str) -> None:
    assert type_in_name(name) == kind


def test_resources_carry_file_line_and_type(tmp_path: Path) -> None:
    made = folder(tmp_path, {"b.ndjson": O1 + b"\n" + P1 + b"\n", "a.ndjson.gz": gzip.compress(M1 + b"\n")})
    read = [(raw.where, raw.resource_type, raw.line) for raw in read_folder(made)]
    assert read == [
        ("a.ndjson.gz:1", "Medication", M1),
        ("b.ndjson:1", "Observation", O1),
        ("b.ndjson:2", "Patient", P1),
    ]


def manifest(request: str, *outputs: tuple[str, str, int], error: tuple[str, ...] = ()) -> bytes:
    return json.dumps(
        {
            "transactionTime": "2026-02-28T23:00:00Z",
            "request": request,
            "requiresAccessToken": True,
            "output": [
                {"type": kind, "url": f"https://ehr.example/f/{name}?sig=x", "count": count}
                for kind, name, count in outputs
            ],
            "error": [{"type": "OperationOutcome", "url": f"https://ehr.example/f/{name}"} for name in error],
        }
    ).encode()


ALL = "https://ehr.example/fhir/$export?_type=Observation,Patient,Procedure"
EXPORTED = date(2026, 2, 28)  # the day of transactionTime; a folder without one is as of NOW
GOOD = {"Observation.ndjson": O1 + b"\n" + O2 + b"\n", "Patient.ndjson": P1 + b"\n"}
LISTED = (("Observation", "Observation.ndjson", 2), ("Patient", "Patient.ndjson", 1))


def outcome(severity: str) -> bytes:
    return (
        json.dumps({"resourceType": "OperationOutcome", "issue": [{"severity": severity}]}).encode() + b"\n"
    )


@pytest.mark.parametrize(
    ("files", "complete", "incomplete", "codes"),
    [
        (GOOD, {"Observation", "Patient"}, set(), set()),
        (
            {**GOOD, "manifest.json": manifest(ALL, *LISTED)},
            {"Observation", "Patient", "Procedure"},
            set(),
            set(),
        ),
        (
            {**GOOD, "manifest.json": manifest(ALL, ("Observation", "Observation.ndjson", 3), LISTED[1])},
            {"Patient", "Procedure"},
            {"Observation"},
            {"COUNT_MISMATCH"},
        ),
        (
            {**GOOD, "manifest.json": manifest(ALL, *LISTED, ("Observation", "Observation.2.ndjson", 1))},
            {"Patient", "Procedure"},
            {"Observation"},
            {"FILE_MISSING"},
        ),
        (
            {**GOOD, "Observation.ndjson": O1 + b"\n" + O2[:30]},
            {"Patient"},
            {"Observation"},
            {"TRUNCATED_LINE"},
        ),
        (
            {
                "Observation.ndjson.gz": gzip.compress(O1 * 50 + b"\n" + O2 + b"\n")[:-12],
                "Patient.ndjson": P1,
            },
            {"Patient"},
            {"Observation"},
            {"GZIP_DAMAGED"},
        ),
        (
            {
                "Observation.ndjson.zst": zstandard.compress(O1 * 50 + b"\n" + O2 + b"\n")[:-12],
                "Patient.ndjson": P1,
            },
            {"Patient"},
            {"Observation"},
            {"ZSTD_DAMAGED"},
        ),
        (
            {**GOOD, "manifest.json": manifest(ALL + "&_since=2026-01-01", *LISTED)},
            set(),
            {"Observation", "Patient", "Procedure"},
            set(),
        ),
        (
            {
                **GOOD,
                "e.ndjson": outcome("error"),
                "manifest.json": manifest(ALL, *LISTED, error=("e.ndjson",)),
            },
            set(),
            {"Observation", "Patient", "Procedure"},
            {"EXPORT_ERRORS"},
        ),
        (
            {
                **GOOD,
                "e.ndjson": outcome("information"),
                "manifest.json": manifest(ALL, *LISTED, error=("e.ndjson",)),
            },
            {"Observation", "Patient", "Procedure"},
            set(),
            set(),
        ),
        ({**GOOD, "manifest.json": b"{"}, set(), {"Observation", "Patient"}, {"MANIFEST_UNREADABLE"}),
    ],
    ids=[
        "no manifest: what is there is complete",
        "a type asked for and empty is complete",
        "count differs",
        "file missing",
        "line cut short",
        "gzip cut short",
        "zstd cut short",
        "only changes were asked for",
        "the export had errors",
        "the export had remarks",
        "manifest unreadable",
    ],
)
def test_coverage_of_a_folder(
    tmp_path: Path, files: dict[str, bytes], complete: set[str], incomplete: set[str], codes: set[str]
) -> None:
    landing = land_folder(folder(tmp_path, files), tmp_path / "landing", now=NOW)
    assert {row.resource_type for row in landing.coverage if row.complete} == complete
    assert {row.resource_type for row in landing.coverage if not row.complete} == incomplete
    assert all(row.reason for row in landing.coverage)
    assert {issue.code for issue in landing.issues} == codes
    for kind in ("Observation", "Patient", "Procedure", "Condition"):
        assert is_covered(landing.coverage, kind, "p1", None, EXPORTED) == (kind in complete)
        assert not is_covered(landing.coverage, kind, "p1", None, NOW.date() + timedelta(days=1))


def test_every_way_to_pack_a_file_gives_the_same_lines(tmp_path: Path) -> None:
    """Frames and members may follow one another (RFC 8878, section 3; RFC 1952, section 2.2)."""
    parts = (O1 + b"\n" + O2[:40], O2[40:] + b"\n", O1 + b"\n")
    packed = {
        "": b"".join(parts),
        ".gz": b"".join(gzip.compress(part) for part in parts),
        ".zst": b"".join(zstandard.compress(part) for part in parts),
    }
    found = {}
    for ending, data in packed.items():
        (tmp_path / f"of{ending}").mkdir()
        source = folder(tmp_path / f"of{ending}", {f"Observation.ndjson{ending}": data})
        landing = land_folder(source, tmp_path / f"landed{ending}" / "landing", now=NOW)
        assert [file.lines for file in landing.manifest.files] == [3]
        assert not landing.issues
        found[ending] = [raw.line for raw in landing.resources()]
    assert found[""] == found[".gz"] == found[".zst"] == [O1, O2, O1]


@pytest.mark.parametrize("copy", [True, False], ids=["copied", "referenced"])
def test_the_landing_is_what_arrived(tmp_path: Path, copy: bool) -> None:
    packed = gzip.compress(O2 + b"\n", mtime=0)
    source = folder(tmp_path, {"Observation.1.ndjson": O1 + b"\n", "Observation.2.ndjson.gz": packed})
    land_folder(source, tmp_path / "w" / "landing", now=NOW, copy=copy)
    landing = open_landing(tmp_path / "w" / "landing")
    assert [raw.line for raw in landing.resources()] == [O1, O2]
    assert [(file.name, file.lines, file.sha256) for file in landing.manifest.files] == [
        ("Observation.1.ndjson", 1, hashlib.sha256(O1 + b"\n").hexdigest()),
        ("Observation.2.ndjson.gz", 1, hashlib.sha256(packed).hexdigest()),
    ]
    landing.verify()
    changed = (landing.folder if copy else source) / "Observation.1.ndjson"
    changed.write_bytes(O2 + b"\n")
    with pytest.raises(SourceUntrustworthy, match=r"Observation\.1\.ndjson"):
        landing.verify()


def test_same_input_and_clock_give_the_same_bytes(tmp_path: Path) -> None:
    source = folder(tmp_path, GOOD)
    twice = [
        land_folder(source, tmp_path / name, now=NOW).folder / "manifest.json" for name in ("one", "two")
    ]
    assert twice[0].read_bytes() == twice[1].read_bytes()


def test_sieved_and_given_add_up(tmp_path: Path) -> None:
    files = {**GOOD, "Medication.ndjson": M1 + b"\n\n"}
    landing = land_folder(folder(tmp_path, files), tmp_path / "landing", now=NOW)
    tally = Tally()
    given = [raw.line for raw in landing.resources(candidates=frozenset({"p1"}), tally=tally)]
    assert given == [M1, O1, P1]
    assert (tally.read, tally.given, tally.sieved) == (landing.lines, 3, 1)
    assert landing.lines == 4
    wheres = [raw.where for raw in landing.resources(frozenset({"Patient"}))]
    assert wheres == ["Patient.ndjson:1"]


def test_a_landing_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "landing"
    land_folder(folder(tmp_path, GOOD), target, now=NOW)

    def die_half_way() -> None:
        with LandingWriter(target) as writer:
            writer.write("Patient", P1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        die_half_way()
    assert open_landing(target).lines == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "landing"]


def test_writer_keeps_bytes_and_one_line_a_resource(tmp_path: Path) -> None:
    pretty = b'{\r\n  "resourceType" : "Observation",\n  "v": 1.10, "t": "a\\nb \\u00b5"\n}'
    with LandingWriter(tmp_path / "landing") as writer:
        writer.write("Observation", pretty)
        landing = writer.finish(now=NOW, asked={}, coverage=())
    (raw,) = landing.resources()
    assert raw.line == b'{   "resourceType" : "Observation",   "v": 1.10, "t": "a\\nb \\u00b5" }'
    assert json.loads(raw.line) == json.loads(pretty)
    assert one_line(raw.line) == raw.line


def test_gzip_bomb_and_endless_line_stop_the_read(tmp_path: Path) -> None:
    bomb = folder(tmp_path, {"Observation.ndjson.gz": gzip.compress(b"0" * 4_000_000)})
    with pytest.raises(SourceUntrustworthy, match="unpacks"):
        land_folder(bomb, tmp_path / "landing", now=NOW, limits=Limits(ratio_after=2**20))
    with pytest.raises(SourceUntrustworthy, match="line is longer"):
        list(NdjsonFile(bomb / "Observation.ndjson.gz", Limits(max_line=10**6, block=10)).lines())
    assert not (tmp_path / "landing").exists()


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"x"}])
def test_a_folder_without_ndjson_is_a_mistake(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(ConfigError, match=r"no \*.ndjson"):
        land_folder(folder(tmp_path, files), tmp_path / "landing", now=NOW)
    with pytest.raises(ConfigError, match="run fetch"):
        open_landing(tmp_path / "landing")
