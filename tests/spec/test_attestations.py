"""An answer given here is read by the next screening; verdicts follow from its questions' own words.

The person is planted: everything but exclusion 3 ("untreated active digestive tract ulcer within 3 months")
is settled, an ulcer is on record, and nobody has said whether it was treated.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapter import attestations, pipeline
from adapter.cli import snapshots
from adapter.model.decision import Decision, Overall, Verdict
from adapter.pipeline import Workspace
from adapter.store import audit
from adapter.store.database import reading
from adapter.trial import open_store
from tests.worklist_case import AS_OF, NOW, planted, trial, ward

CODES = "https://trial-fhir-adapter.org/fhir/CodeSystem/NCT03864250-attestation"


def attest(workspace: Workspace, subject: str, code: str, authored: str = "2019-06-03") -> str:
    """Answer the question on ulcers; returns the reference of the response."""
    item = {"linkId": "ulcer", "answer": [{"valueCoding": {"system": CODES, "code": code}}]}
    made = attestations.response(
        trial().protocol.questionnaire, subject, [item], authored=authored, author="dr-li"
    )
    with open_store(workspace, NOW) as engine:
        return f"QuestionnaireResponse/{attestations.record(engine, made, 'dr-li', NOW)['id']}"


def decision(workspace: Workspace, subject: str) -> Decision:
    return next(one for one in pipeline.read_screening(workspace).decisions if one.subject == subject)


@pytest.mark.parametrize(
    ("answer", "verdict", "overall"),
    [
        ("treated-or-healed", Verdict.NOT_MET, Overall.ELIGIBLE),
        ("none", Verdict.NOT_MET, Overall.ELIGIBLE),
        ("active-untreated", Verdict.MET, Overall.INELIGIBLE),
    ],
)
def test_the_next_screening_reads_the_answer(
    tmp_path: Path, answer: str, verdict: Verdict, overall: Overall
) -> None:
    workspace, subject = ward(tmp_path), planted("ulcer-not-attested")
    before = decision(workspace, subject)
    assert (before.criterion("EXCL03").verdict, before.overall) == (Verdict.UNKNOWN, Overall.UNDETERMINED)
    pipeline.screen(trial(), workspace, as_of=AS_OF)
    people = len((workspace.screening / "basis.ndjson").read_text().splitlines())
    reference = attest(workspace, subject, answer)
    done = pipeline.screen(trial(), workspace, as_of=AS_OF)
    after = decision(workspace, subject)
    assert (after.criterion("EXCL03").verdict, after.overall) == (verdict, overall)
    used = [row.source for row in after.criterion("EXCL03").evidence if row.role == "used"]
    assert reference in {source.reference for source in used}
    assert "1" in {source.version for source in used if source.reference == reference}
    assert done.sifted.balanced
    assert done.reused == people - 1, "only this person is judged anew"


def test_an_answer_changes_the_versions_that_verdicts_name_and_repeats_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    workspace, subject = ward(tmp_path), planted("ulcer-not-attested")
    before = pipeline.read_screening(workspace).versions
    attest(workspace, subject, "none")
    after = pipeline.screen(trial(), workspace, as_of=AS_OF).versions
    assert set(after) - set(before) == {"attestations_sha256"}
    first = (workspace.screening / "decisions.ndjson").read_bytes()
    pipeline.screen(trial(), workspace, as_of=AS_OF, full=True)
    assert (workspace.screening / "decisions.ndjson").read_bytes() == first


def test_an_answer_given_after_the_day_does_not_decide(tmp_path: Path) -> None:
    workspace, subject = ward(tmp_path), planted("ulcer-not-attested")
    attest(workspace, subject, "none", authored="2019-06-04")
    pipeline.screen(trial(), workspace, as_of=AS_OF)
    assert decision(workspace, subject).criterion("EXCL03").verdict is Verdict.UNKNOWN


def test_an_answer_about_somebody_who_is_no_candidate_is_counted_and_left_out(tmp_path: Path) -> None:
    workspace = ward(tmp_path)
    attest(workspace, "nobody", "none")
    done = pipeline.screen(trial(), workspace, as_of=AS_OF)
    assert done.sifted.balanced
    assert "nobody" not in {one.subject for one in done.decisions}


def test_the_audit_names_the_response_and_the_questions_not_the_answers(tmp_path: Path) -> None:
    workspace, subject = ward(tmp_path), planted("ulcer-not-attested")
    reference = attest(workspace, subject, "active-untreated")
    with open_store(workspace, NOW) as engine, reading(engine) as connection:
        [row] = [link for link in audit.links(connection) if link.action == "attest"]
    assert row.actor == "dr-li"
    assert f"{reference}/_history/1" in row.what
    assert "ulcer" in row.detail
    assert "active-untreated" not in row.what + row.detail


def test_lineage_names_who_answered_and_when(tmp_path: Path) -> None:
    """What a verdict or a cell rests on is shown as an answer of ours, not as a record that went missing."""
    workspace, subject = ward(tmp_path), planted("ulcer-not-attested")
    reference = attest(workspace, subject, "none", authored="2019-06-02")
    pipeline.screen(trial(), workspace, as_of=AS_OF)
    (source,) = {
        row.source
        for row in decision(workspace, subject).criterion("EXCL03").evidence
        if row.source.reference == reference
    }
    when = NOW.isoformat(timespec="milliseconds")
    assert snapshots._bytes(workspace, source) == (
        f"attested on a page here by dr-li, answered for 2019-06-02, kept {when}, SHA-256 {source.sha256}"
    )
    another = msgspec.structs.replace(source, sha256="0" * 64)
    assert snapshots._bytes(workspace, another).endswith("it is another than was read")
    elsewhere = Workspace(tmp_path / "elsewhere")
    assert "not in this workspace's database" in snapshots._bytes(elsewhere, source)
