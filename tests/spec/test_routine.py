"""A round: what is read, judged, written and mailed; what a failing step leaves; that a mail names nobody."""

from __future__ import annotations

import json
import smtplib
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiosmtpd.controller import Controller
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from adapter import digest, pipeline, routine
from adapter.config import Digest
from adapter.digest import News
from adapter.errors import ConfigError, SourceUnavailable
from adapter.pipeline import Workspace
from adapter.routine import Round
from adapter.trial import Trial
from tests.fhir_server import BASE, FhirServer

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SETTINGS = Digest(
    to=("team@hospital.example",), sender="adapter@hospital.example", host="127.0.0.1", language="en",
    page="https://adapter.hospital.example/worklist",
)  # fmt: skip
PLAIN = pipeline.open_trial()


@pytest.fixture
def hospital() -> FhirServer:
    server = FhirServer(NOON - timedelta(days=3))
    server.put({"resourceType": "Patient", "id": "CANARY", "birthDate": "1980-01-01"})
    server.put(
        {
            "resourceType": "Condition",
            "id": "mn",
            "subject": {"reference": "Patient/CANARY"},
            "code": {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "N04.2"}]},
        }
    )
    return server


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def trial(settings: Digest | None = SETTINGS) -> Trial:
    """A site that is told by a file, so that a round needs a server that reads only."""
    return PLAIN._replace(site=msgspec.structs.replace(PLAIN.site, rungs=("file",), digest=settings))


async def rounds(
    workspace: Workspace, settings: Digest | None = SETTINGS, **asked: Any
) -> tuple[Round, list[News]]:
    sent: list[News] = []
    done = await routine.go_round(
        trial(settings), workspace, BASE, clock=lambda: NOON, mail=lambda news, *_: sent.append(news), **asked
    )
    return done, sent


def states(done: Round) -> dict[str, str]:
    return {one.name: one.state for one in done.steps}


# ---- the steps --------------------------------------------------------------------------------------


async def test_a_round_reads_judges_writes_and_tells(hospital: FhirServer, workspace: Workspace) -> None:
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        done, sent = await rounds(workspace)
    assert states(done) == dict.fromkeys(("read", "screen", "monitor", "write", "digest"), "done")
    assert (done.exit_code, done.news.moved) == (0, {"undetermined": 1})
    assert [one.moved for one in sent] == [{"undetermined": 1}]
    assert list((workspace.writeback).rglob("*.json"))


async def test_the_first_round_of_all_reads_everybody(hospital: FhirServer, workspace: Workspace) -> None:
    with hospital.answering():
        done, _ = await rounds(workspace)
        again, _ = await rounds(workspace)
    assert states(done) == dict.fromkeys(("read", "screen", "monitor", "write", "digest"), "done")
    assert done.news.moved == {"undetermined": 1}
    assert (states(again)["read"], again.news.moved) == ("done", {})


async def test_a_round_that_changes_nothing_sends_no_mail_unless_asked(
    hospital: FhirServer, workspace: Workspace
) -> None:
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        await rounds(workspace)
        done, sent = await rounds(workspace)
        _, always = await rounds(workspace, msgspec.structs.replace(SETTINGS, always=True))
        _, nobody = await rounds(workspace, None)
    assert (states(done)["digest"], sent, nobody) == ("left", [], [])
    assert [one.moved for one in always] == [{}]


async def test_a_dry_run_writes_and_mails_nothing(hospital: FhirServer, workspace: Workspace) -> None:
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        done, sent = await rounds(workspace, dry_run=True)
    assert (states(done)["screen"], states(done)["digest"], sent) == ("done", "left", [])
    assert not list(workspace.writeback.rglob("*.json"))


async def test_without_fresh_records_nobody_is_judged_anew_and_the_mail_says_so(
    hospital: FhirServer, workspace: Workspace
) -> None:
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        await rounds(workspace)
        before = (workspace.screening / "decisions.ndjson").read_bytes()
        hospital.clock = NOON + timedelta(hours=1)
        hospital.put({"resourceType": "Condition", "id": "mn", "subject": {"reference": "Patient/CANARY"}})
        hospital.dies_after = len(hospital.requests)
        done, sent = await rounds(workspace)
    assert states(done) == {
        "read": "failed",
        "screen": "left",
        "monitor": "left",
        "write": "left",
        "digest": "done",
    }
    assert done.exit_code == SourceUnavailable.exit_code == 75
    assert (workspace.screening / "decisions.ndjson").read_bytes() == before
    assert [one.failed for one in sent] == [("read",)]


async def test_a_mail_server_that_is_gone_is_a_step_that_failed(
    hospital: FhirServer, workspace: Workspace
) -> None:
    closed = msgspec.structs.replace(SETTINGS, port=1, always=True)
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        done = await routine.go_round(trial(closed), workspace, BASE, clock=lambda: NOON)
    assert (states(done)["write"], states(done)["digest"], done.exit_code) == ("done", "failed", 75)


# ---- the mail ---------------------------------------------------------------------------------------

NEWS = News(
    "NCT1", "west", NOON.date(), {"eligible": 2, "ineligible": 1}, 1, 4, 3, ("Observation",), ("write",)
)


@pytest.mark.parametrize(
    ("language", "subject", "says"),
    [
        ("en", "NCT1, west: 4 changes",
         ["newly eligible: 2", "newly ineligible: 1", "safety lines: 1", "overdue: 4", "approval: 3",
          "Observation", "failed", "/worklist"]),
        ("zh", "NCT1，west：4 项变化", ["新符合：2", "新不符合：1", "安全性提示：1", "逾期事项者：4"]),
    ],
)  # fmt: skip
def test_what_the_mail_says(language: str, subject: str, says: list[str]) -> None:
    mail = digest.message(NEWS, msgspec.structs.replace(SETTINGS, language=language), NOON)
    assert (mail["Subject"], mail["Auto-Submitted"]) == (subject, "auto-generated")
    text = mail.get_content()
    assert [word for word in says if word not in text] == []


def test_a_mail_of_nothing_new() -> None:
    mail = digest.message(News("NCT1", "west", NOON.date()), SETTINGS, NOON)
    assert mail["Subject"] == "NCT1, west: nothing new"


async def test_a_mail_names_nobody(hospital: FhirServer, workspace: Workspace) -> None:
    with hospital.answering():
        await pipeline.land_server(trial(), workspace, BASE, now=NOON)
        _, [news] = await rounds(workspace)
    mail = digest.message(news, SETTINGS, NOON).as_string()
    assert "CANARY" in (workspace.screening / "decisions.ndjson").read_text()
    assert "CANARY" not in mail + json.dumps(msgspec.to_builtins(news))


# ---- a real mail server -----------------------------------------------------------------------------


class Box:
    """What a mail server does with what it is handed."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes, bool]] = []
        self.recipients = "250 OK"

    async def handle_RCPT(
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any
    ) -> str:
        if self.recipients.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.recipients

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((list(envelope.rcpt_tos), bytes(envelope.content), session.ssl is not None))
        return "250 OK"


@pytest.fixture
def box() -> Box:
    return Box()


class Server(Controller):
    """On a free port that it finds itself."""

    def __init__(self, box: Box, **more: Any) -> None:
        super().__init__(box, hostname="127.0.0.1", port=0, ready_timeout=60, **more)

    def _trigger_server(self) -> None:
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(no_assert=True)


@pytest.fixture
def plain(box: Box) -> Iterator[Server]:
    with Server(box) as server:
        yield server


def a_mail() -> EmailMessage:
    return digest.message(NEWS, SETTINGS, NOON)


def test_this_machines_own_server_takes_it(plain: Server, box: Box) -> None:
    digest.send(a_mail(), msgspec.structs.replace(SETTINGS, port=plain.port))
    [(to, content, _)] = box.mails
    assert to == ["team@hospital.example"]
    assert b"newly eligible: 2" in content


def test_another_server_without_tls_gets_nothing(plain: Server, box: Box) -> None:
    settings = msgspec.structs.replace(SETTINGS, host="127.0.0.2", port=plain.port)

    def connect(_host: str, port: int, **more: Any) -> Any:
        return smtplib.SMTP("127.0.0.1", port, **more)

    with pytest.raises(ConfigError, match="SMTPNotSupportedError"):
        digest.send(a_mail(), settings, connect=connect)
    assert box.mails == []


def test_a_recipient_that_is_refused_is_a_setting_to_mend(plain: Server, box: Box) -> None:
    box.recipients = "550 no such user"
    with pytest.raises(ConfigError, match="recipient") as fault:
        digest.send(a_mail(), msgspec.structs.replace(SETTINGS, port=plain.port))
    assert "team@" not in str(fault.value)


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost.localdomain")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("mail.hospital.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "mail.pem", folder / "mail.key"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return public, private


@pytest.mark.parametrize("known", [True, False])
def test_another_server_is_spoken_to_by_tls_that_is_checked(known: bool, box: Box, tmp_path: Path) -> None:
    public, private = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)

    def connect(host: str, port: int, **more: Any) -> Any:
        server = smtplib.SMTP("127.0.0.1", port, **more)
        server._host = host  # type: ignore[attr-defined]  # what the certificate is checked against
        return server

    with Server(box, tls_context=context, require_starttls=True) as listening:
        settings = msgspec.structs.replace(
            SETTINGS, host="mail.hospital.example", port=listening.port, ca_file=str(public) if known else ""
        )
        if known:
            digest.send(a_mail(), settings, connect=connect)
        else:
            with pytest.raises(SourceUnavailable):
                digest.send(a_mail(), settings, connect=connect)
    assert [secure for _, _, secure in box.mails] == [True] * known
