"""The doctor against a server with one planted fault at a time: each is told, with what to do; no patient is.

What must be told follows from what the adapter needs (FHIR R4 search, SMART Backend Services), not from what
the doctor happens to print. The sound server answers all searches; a row says what its fault adds to it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from adapter.cli.app import app
from adapter.config import Site, Smart
from adapter.doctor import Examination, examine, needs
from adapter.doctor.sample import judged
from adapter.errors import ConfigError
from adapter.source.auth.keys import new_key, public_set
from adapter.source.client import Patience
from adapter.source.questions import BY_CODE, BY_PATIENT
from adapter.trial import Trial, Workspace, open_trial
from tests.servers.certificate import certificate
from tests.servers.guarded import Guarded, serving

KEY, OTHER = new_key("ES384"), new_key("RS384")
CANARY = "Zhang-San-canary"
QUICK = Patience(attempts=1, read=5.0, total=5.0)


def observation(
    code: str, value: dict[str, Any] | None = None, system: str = "http://loinc.org"
) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": CANARY,
        "code": {"coding": [{"system": system, "code": code, "display": CANARY}]},
        "subject": {"reference": f"Patient/{CANARY}", "display": CANARY},
        **({"valueQuantity": value} if value else {}),
    }


# LOINC 1751-7 is albumin in serum by mass, 718-7 haemoglobin.
ALBUMIN = observation("1751-7", {"value": 31, "unit": "g/L"})


def metadata(leave_out: str = "", **more: Any) -> dict[str, Any]:
    parameters = {kind: {*names} for kind, names in BY_PATIENT.items()}
    for kind, name in BY_CODE.items():
        parameters[kind].add(name)
    kinds = {"Patient": set(), "Flag": {"subject"}, "Provenance": set(), **parameters}
    listed = [
        {
            "type": kind,
            "updateCreate": True,
            "interaction": [{"code": code} for code in ("read", "search-type", "create", "update")],
            "searchParam": [{"name": name} for name in sorted(names)],
        }
        for kind, names in kinds.items()
        if kind != leave_out
    ]
    interaction = [{"code": "transaction"}]
    rest = {
        "mode": "server",
        "resource": listed,
        "interaction": interaction,
        "operation": [{"name": "export"}],
    }
    return {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "software": {"name": "Guarded"},
        "rest": [{**rest, **more}],
    }


def hospital(**more: Any) -> Guarded:
    patient = {"resourceType": "Patient", "id": CANARY, "name": [{"text": CANARY}]}
    standard = {
        "jwks": public_set([KEY]),
        "grants": "system/*.cruds",
        "metadata": metadata(),
        "resources": {"Patient": [patient], "Observation": [ALBUMIN]},
        "page": 100,
    }
    return Guarded(**{**standard, **more})


@pytest.fixture(scope="module")
def demo() -> Trial:
    return open_trial()


def at(trial: Trial, base_url: str, key: Path, **more: Any) -> Trial:
    smart = Smart(client_id="trial-adapter", key_file=str(key))
    return trial._replace(site=Site("Hospital", "hospital", base_url=base_url, smart=smart, **more))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"keys": [KEY.private()]}))
    path.chmod(0o600)
    return path


async def page(trial: Trial, tmp_path: Path) -> Examination:
    return await examine(
        trial, Workspace(tmp_path / "workspace"), now=lambda: datetime.now(UTC), patience=QUICK
    )


def told(examined: Examination) -> dict[str, str]:
    """The worst state of each check."""
    worst: dict[str, str] = {}
    for one in examined.findings:
        if worst.get(one.check) != "fail":
            worst[one.check] = one.state if one.state != "ok" else worst.get(one.check, "ok")
    return worst


async def test_a_sound_site_has_nothing_to_fix(demo: Trial, tmp_path: Path, key_file: Path) -> None:
    with serving(hospital()) as server:
        examined = await page(at(demo, server.base_url, key_file), tmp_path)
    assert examined.sound
    assert {check: state for check, state in told(examined).items() if state != "ok"} == {}
    assert set(told(examined)) >= {
        "tls", "clock", "token", "scopes", "metadata", "types", "parameters", "searches", "changes",
        "codes", "units", "export", "write-back", "disk", "database",
    }  # fmt: skip
    assert "no known make" in next(one.seen for one in examined.findings if one.check == "dialect")
    assert len(server.statements) == 1
    assert not (tmp_path / "workspace").exists()


FAULTS: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("the key is not registered", {"jwks": {"keys": []}}, "token", "fail", "register the public key"),
    ("clock 10 minutes ahead", {"ahead": 600.0}, "clock", "fail", "NTP"),
    ("clock 10 minutes behind", {"ahead": -600.0}, "token", "warn", "NTP"),
    ("clock a minute off", {"ahead": 60.0}, "clock", "warn", "NTP"),
    (
        "scopes without Observation",
        {"grants": "system/Patient.rs system/Condition.rs"},
        "scopes",
        "fail",
        "system/<type>.rs",
    ),
    (
        "scopes without Specimen",
        {
            "grants": " ".join(
                f"system/{kind}.read" for kind in ({"Patient"} | BY_PATIENT.keys()) - {"Specimen"}
            )
        },
        "scopes",
        "warn",
        "system/<type>.rs",
    ),
    ("scopes that do not allow writing", {"grants": "system/*.rs"}, "write-back", "warn", "cruds"),
    ("no CapabilityStatement", {"metadata": {"resourceType": "Patient"}}, "metadata", "fail", "base_url"),
    ("R5", {"metadata": {**metadata(), "fhirVersion": "5.0.0"}}, "metadata", "fail", "R4"),
    ("R4B", {"metadata": {**metadata(), "fhirVersion": "4.3.0"}}, "metadata", "warn", "R4B"),
    ("no Observation", {"metadata": metadata("Observation")}, "types", "fail", "unknown"),
    ("no Consent", {"metadata": metadata("Consent")}, "types", "warn", "unknown"),
    ("no $export", {"metadata": metadata(operation=[])}, "export", "warn", "patient by patient"),
    ("no way to write", {"metadata": metadata(resource=[])}, "write-back", "warn", "CTMS"),
    ("Observation refused", {"refuses": {"Observation": 403}}, "searches", "fail", "incomplete"),
    ("Specimen refused", {"refuses": {"Specimen": 400}}, "searches", "warn", "incomplete"),
    ("no search by code", {"ignores": {"code", "reason-code"}}, "candidates", "fail", "bulk export"),
    ("patient ignored", {"ignores": {"patient", "subject"}}, "searches", "fail", "incomplete"),
    ("_lastUpdated ignored", {"ignores": {"_lastUpdated"}}, "changes", "warn", "each time"),
    ("no patients yet", {"resources": {}}, "searches", "warn", "nobody"),
    (
        "an unknown unit",
        {"resources": {"Observation": [observation("1751-7", {"value": 3, "unit": "stones"})]}},
        "units",
        "warn",
        "units.csv",
    ),
]


async def test_a_rung_that_the_site_names_and_the_server_lacks(
    demo: Trial, tmp_path: Path, key_file: Path
) -> None:
    plan = {"metadata": metadata("ResearchSubject")}
    with serving(hospital(**plan)) as server:
        trial = at(demo, server.base_url, key_file, rungs=("ResearchSubject", "file"))
        examined = await page(trial, tmp_path)
    (warning,) = [one for one in examined.findings if (one.check, one.state) == ("write-back", "warn")]
    assert "not offered by /metadata: ResearchSubject" in warning.seen


@pytest.mark.parametrize(
    ("plan", "check", "state", "fix"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS]
)
async def test_a_planted_fault_is_told_with_what_to_do(
    demo: Trial, tmp_path: Path, key_file: Path, plan: dict[str, Any], check: str, state: str, fix: str
) -> None:
    with serving(hospital(**plan)) as server:
        examined = await page(at(demo, server.base_url, key_file), tmp_path)
    assert told(examined)[check] == state
    assert any(fix in one.fix for one in examined.findings if (one.check, one.state) == (check, state))
    assert examined.sound is ("fail" not in told(examined).values())
    printed = msgspec.json.encode(examined).decode()
    assert CANARY not in printed
    assert not any(token in printed for token in server.tokens)
    assert not any(form["client_assertion"] in printed for form in server.forms)


async def test_a_make_that_wants_a_category_is_asked_with_one(
    demo: Trial, tmp_path: Path, key_file: Path
) -> None:
    """Epic answers 400 to Observation by patient alone (fhir.epic.com, Observation.Search)."""
    said = {**metadata(), "software": {"name": "Epic"}}
    with serving(hospital(metadata=said, needs_category={"Observation"})) as server:
        examined = await page(at(demo, server.base_url, key_file), tmp_path)
    assert "epic" in next(one.seen for one in examined.findings if one.check == "dialect")
    searches = [one for one in examined.findings if one.check == "searches"]
    assert [one.state for one in searches] == ["ok"]


async def test_a_key_that_others_can_read_and_an_old_key_in_use(
    demo: Trial, tmp_path: Path, key_file: Path
) -> None:
    key_file.write_text(json.dumps({"keys": [OTHER.private(), KEY.private()]}))
    key_file.chmod(0o644)
    with serving(hospital()) as server:
        examined = await page(at(demo, server.base_url, key_file), tmp_path)
    warned = {one.fix for one in examined.findings if one.check == "key" and one.state == "warn"}
    assert any("register" in fix for fix in warned)
    assert "chmod 600" in warned


async def test_what_is_down_is_down_in_one_page(demo: Trial, tmp_path: Path, key_file: Path) -> None:
    examined = await page(at(demo, "http://127.0.0.1:9", key_file), tmp_path)
    assert not examined.sound
    assert told(examined)["clock"] == "fail"
    assert {"disk", "database"} <= set(told(examined))


async def test_a_site_without_a_server_cannot_be_examined(demo: Trial, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no server"):
        await page(demo._replace(site=Site("Hospital", "hospital")), tmp_path)


@pytest.mark.parametrize(
    ("days", "name", "known", "state", "text"),
    [
        (300, "127.0.0.1", True, "ok", "valid until"),
        (10, "127.0.0.1", True, "warn", "valid until"),
        (-1, "127.0.0.1", True, "fail", "expired"),
        (300, "other.example", True, "fail", "mismatch|not valid for"),
        (300, "127.0.0.1", False, "fail", "self-signed"),
    ],
)
async def test_certificates(
    demo: Trial, tmp_path: Path, key_file: Path, days: int, name: str, known: bool, state: str, text: str
) -> None:
    private, public = certificate(tmp_path, days, name)
    with serving(hospital(), ssl_keyfile=private, ssl_certfile=public) as server:
        examined = await page(at(demo, server.base_url, key_file, ca_file=public if known else ""), tmp_path)
    (tls,) = (one for one in examined.findings if one.check == "tls")
    assert tls.state == state
    assert re.search(text, tls.seen)
    assert ("token" in told(examined)) is (state != "fail")


def test_codes_and_units_are_shown_and_nothing_else(demo: Trial) -> None:
    sample = (
        ALBUMIN,
        observation("99999-9", {"value": 1, "unit": "g/L"}),
        observation("ZHANG SAN 1970", system="urn:local"),
        observation("110101199003070012", system="urn:local"),
        {"resourceType": "Observation", "code": {"text": CANARY}},
        {"resourceType": "Observation", "code": "nonsense"},
        observation("1751-7", {"value": 1, "unit": f"{CANARY} {CANARY}"}),
    )
    codes, units = judged(sample, demo.terminology)
    assert "2 of 7" in codes.seen
    assert "loinc|99999-9 (1)" in codes.seen
    assert "(text only) (1)" in codes.seen
    assert "1 of 2" in units.seen
    for hidden in (CANARY, "ZHANG", "110101199003070012"):
        assert hidden not in codes.seen + units.seen


def test_what_the_protocol_cannot_do_without(demo: Trial) -> None:
    """Membranous nephropathy is found by diagnosis or biopsy text and judged by laboratory results."""
    essential, wanted = needs(demo)
    assert {"Patient", "Observation", "Condition"} <= essential
    assert "MedicationRequest" in essential | wanted


@pytest.mark.parametrize(("plan", "code"), [({}, 0), ({"refuses": {"Observation": 403}}, 1)])
def test_the_command(plan: dict[str, Any], code: int, tmp_path: Path) -> None:
    with serving(hospital(open_door=True, **plan)) as server:
        base = ["doctor", "--base-url", server.base_url, "-w", str(tmp_path / "w")]
        shown = CliRunner().invoke(app, base)
        read = CliRunner().invoke(app, [*base, "--json"])
    assert shown.exit_code == read.exit_code == code
    assert json.loads(read.stdout)["findings"][0]["check"] == "tls"
    assert CANARY not in shown.output + read.output
