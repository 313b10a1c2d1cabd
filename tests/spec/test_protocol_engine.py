"""What the engine does with answers, silence, conflicts and the words this protocol does not use."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.coverage import Coverage
from adapter.model.decision import Overall, Verdict
from adapter.model.facts import Coding, Facts, Source
from adapter.protocol import evaluate, load, settle
from tests.spec.protocol_words import (
    DAY,
    P0,
    P18,
    SCREENING,
    ZONE,
    Row,
    changed,
    facts,
    had,
    judged,
    lab,
    protocol,
    said,
    told,
    took,
    vocabulary,
)

HEAD = """\
id: TRIAL-1
version: "1"
title: A trial
questionnaire: https://trial-fhir-adapter.org/fhir/Questionnaire/NCT03864250-attestation|1.0
anchors: {screening: {as_of: true}, visit: {attested: visit-date}}
readings:
  first: {finding: urine_protein_24h, take: earliest}
  last: {finding: urine_protein_24h}
  peak: {finding: urine_protein_24h, take: highest}
  many: {finding: urine_protein_24h, take: any, of_at_least: 4}
  some: {finding: urine_protein_24h, take: any}
  each: {finding: urine_protein_24h, take: every}
criteria:
  - id: RULE
    kind: inclusion
    text: a sentence
    source: a page
"""


def outcome(folder: Path, condition: str, *rows: Row) -> str:
    text = HEAD + f"    met_when: {condition}\n"
    (folder / "protocol.yaml").write_text(text, encoding="utf-8")
    decision = evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)
    return told(decision, "RULE")


def values(concept: str, *pairs: tuple[str, str]) -> list[Row]:
    return [lab(concept, value, on) for value, on in pairs]


def troughs(*levels: str) -> list[Row]:
    return [lab("tacrolimus_trough", level, f"2019-05-0{day}") for day, level in enumerate(levels, 1)]


def spanned(start: str, end: str) -> list[Row]:
    return values("urine_protein_24h", (start, "2019-01-10"), (end, "2019-05-10"))


NEAR = "met [READINGS_DISAGREE]"
ONE_DAY = values("urine_protein_24h", ("10", "2019-05-10T08:00:00Z"), ("4", "2019-05-10T12:00:00Z"))
TORN = values("urine_protein_24h", ("10", "2019-01-10"), ("4", "2019-05-10"), ("8", "2019-05-10"))
LATER = values("urine_protein_24h", ("10", "2019-06-04"))
PROTEIN = values("urine_protein_24h", ("10", "2019-01-10"), ("8", "2019-03-10"), ("4", "2019-05-10"))
A_DAY = "{elapsed: {since: visit, until: screening, at_least: 1 day}}"
HIGH_SUGAR = "repeated: {finding: glucose, above: 11.1 mmol/L, readings: 2, apart: {at_least: 14 days}}"
TROUGHS = "share: {finding: tacrolimus_trough, at_most: 10 ng/mL, of_at_least: 3, passing: {at_least: 70 %}}"


@pytest.mark.parametrize(
    ("condition", "rows", "expected"),
    [
        # which reading decides
        ("{finding: urine_protein_24h, take: highest, at_least: 10 g/d}", PROTEIN, "met [BOUNDARY]"),
        ("{finding: urine_protein_24h, take: lowest, below: 4 g/d}", PROTEIN, "not_met [BOUNDARY]"),
        ("{finding: urine_protein_24h, take: every, above: 3 g/d}", PROTEIN, "met"),
        ("{finding: urine_protein_24h, take: every, above: 5 g/d}", PROTEIN, "not_met"),
        ("{finding: urine_protein_24h, take: every, of_at_least: 4, above: 3 g/d}", PROTEIN, "unknown"),
        ("{finding: urine_protein_24h, take: nearest, near: 2019-03-01, below: 9 g/d}", PROTEIN, NEAR),
        # 9 February lies 30 days after 10 January and 29 before 10 March
        ("{finding: urine_protein_24h, take: nearest, near: 2019-02-09, below: 9 g/d}", PROTEIN, NEAR),
        # 11 March lies 60 days after 10 January and 60 before 10 May: of equals the earlier
        ("{finding: urine_protein_24h, take: nearest, near: 2019-03-11, above: 9 g/d}", PROTEIN[::2], NEAR),
        # thresholds that are other readings
        ('{reading: last, below: "50 % of reading:peak"}', PROTEIN, "met [READINGS_DISAGREE]"),
        ("{reading: last, at_most: 0.4 x reading:first}", PROTEIN, "met [BOUNDARY, READINGS_DISAGREE]"),
        ("{reading: last, below: 0.5 x reading:peak}", [], "unknown"),
        # falls and rises
        ("{fall: {from: peak, to: last}, above: 60 %}", PROTEIN, "not_met [BOUNDARY]"),
        ("{fall: {from: peak, to: last}, at_least: 60 %}", PROTEIN, "met [BOUNDARY]"),
        ("{rise: {from: last, to: last}, above: 10 %}", PROTEIN, "not_met"),  # from 8 to 4
        ("{rise: {from: last, to: last}, above: 10 %}", PROTEIN[:1], "unknown"),
        ("{fall: {from: peak, to: many}, above: 50 %}", PROTEIN, "met"),
        (
            "{fall: {from: peak, to: many}, above: 70 %}",
            PROTEIN,
            "unknown",
        ),  # three values, four are asked for
        ("{fall: {from: peak, to: last}, above: 10 %}", ONE_DAY, "unknown"),  # not within one day
        # 10 -> 8 is 20 %, 10 -> 4 is 60 %: all later values, or one of them, or the latest
        ("{fall: {from: first, to: each}, at_least: 20 %}", PROTEIN, "met [BOUNDARY]"),
        ("{fall: {from: first, to: each}, above: 50 %}", PROTEIN, "not_met"),
        ("{fall: {from: first, to: some}, above: 50 %}", PROTEIN, "met"),
        ("{fall: {from: first, to: some}, above: 70 %}", PROTEIN, "not_met"),
        # the end reading itself has to be somewhere too
        ("{fall: {from: first, to: last}, above: 50 %, reaching: {below: 5 g/d}}", PROTEIN, "met"),
        ("{fall: {from: first, to: last}, above: 50 %, reaching: {below: 3 g/d}}", PROTEIN, "not_met"),
        # two values of the last day that answer differently: 60 % and 20 %
        ("{fall: {from: first, to: last}, above: 50 %}", TORN, "unknown [CONFLICT]"),
        # intervals: >10 to 4 is more than 60 %; 10 to <5 more than 50 %; 10 to >4 less than 60 %
        ("{fall: {from: first, to: last}, above: 60 %}", spanned(">10", "4"), "met"),
        ("{fall: {from: first, to: last}, above: 50 %}", spanned("10", "<5"), "met"),
        ("{fall: {from: first, to: last}, at_least: 60 %}", spanned("10", ">4"), "not_met"),
        ("{fall: {from: first, to: last}, above: 60 %}", spanned("<10", "4"), "not_met"),
        ("{fall: {from: first, to: last}, above: 30 %}", spanned("<10", "<4"), "unknown"),
        # an assessment sees nothing from after its day
        ("{finding: urine_protein_24h, from: 2019-05-01, to: 2019-12-31, above: 3 g/d}", LATER, "unknown"),
        # repeated: on 2 dates at least 14 days apart
        (f"{{{HIGH_SUGAR}}}", values("glucose", ("12", "2019-05-01"), ("12", "2019-05-15")), "met"),
        # two readings 13 days apart: nobody looked 14 days later; a pair that far apart which fails says no
        (f"{{{HIGH_SUGAR}}}", values("glucose", ("12", "2019-05-01"), ("12", "2019-05-14")), "unknown"),
        (f"{{{HIGH_SUGAR}}}", values("glucose", ("12", "2019-05-01"), ("9", "2019-05-15")), "not_met"),
        (f"{{{HIGH_SUGAR}}}", values("glucose", ("12", "2019-05-01")), "unknown"),
        (f"{{{HIGH_SUGAR}}}", values("glucose", (">9", "2019-05-01"), ("12", "2019-05-15")), "unknown"),
        # a share of readings
        (f"{{{TROUGHS}}}", troughs("9", "10", "11"), "not_met"),
        (f"{{{TROUGHS}}}", troughs("9", "9", "9"), "met"),
        (f"{{{TROUGHS}}}", troughs("9", "9"), "unknown"),
        (f"{{{TROUGHS}}}", troughs("9", "9", ">8"), "unknown"),
        # "not applicable" is an implication
        ("{if: {sex: female}, then: {finding: hcg, is: negative}}", [], "met"),
        ("{if: {sex: male}, then: {finding: hbsag, is: negative}}", [], "unknown"),
        # an anchor that nobody stated
        (A_DAY, [], "unknown"),
        (A_DAY, [said("visit-date", "2019-06-02")], "met [BOUNDARY]"),
        ("{deceased: {before: screening}}", [], "not_met"),
    ],
)
def test_words(tmp_path: Path, condition: str, rows: list[Row], expected: str) -> None:
    assert outcome(tmp_path, condition, *rows) == expected


def asked(*answers: Row) -> str:
    return told(judged(*changed(P0, can_comply=None), *answers), "EXCL11")


def test_answers_the_most_recent_day_decides() -> None:
    old, new = said("can-comply", "false", "2019-05-01"), said("can-comply", "true", "2019-06-01")
    assert asked(old, new) == "not_met"
    shown = judged(*changed(P0, can_comply=None), old, new).criterion("EXCL11").evidence
    assert [(item.role, item.why) for item in shown] == [("used", ""), ("ignored", "answered again later")]


def test_answers_two_of_one_day_contradict_each_other() -> None:
    first = said("can-comply", "false", "2019-06-01T08:00:00+08:00")
    second = said("can-comply", "true", "2019-06-01T09:00:00+08:00")
    assert asked(first, second) == "unknown [CONFLICT]"


def test_answers_after_the_as_of_day_and_unfinished_ones_do_not_count() -> None:
    assert asked(said("can-comply", "false", "2019-06-04")) == "unknown"
    assert asked(replace(said("can-comply", "false"), excluded="IN_PROGRESS")) == "unknown"


def test_an_answer_to_another_questionnaire_does_not_count() -> None:
    other = replace(said("can-comply", "false"), code=Coding("https://example.org/other", "can-comply"))
    newer = replace(
        said("can-comply", "false"),
        code=Coding(f"{said('x', 'y').code.system}|2.0", "can-comply"),
    )
    assert asked(other) == "unknown"
    assert asked(newer) == "met"


def test_a_relapsed_remission_asks_for_a_person() -> None:
    remission = lab("urine_protein_24h", "0.2", "2019-02-01")
    decision = judged(*changed(P18, remission=remission))
    assert "RELAPSED" in decision.criterion("INCL04C").flags
    assert told(decision, "INCL04").startswith("unknown")
    assert decision.criterion("INCL04C").review


def test_a_remission_under_treatment_is_not_spontaneous() -> None:
    remission = lab("urine_protein_24h", "0.2", "2019-02-01")
    drug = took("tacrolimus", "2019-01-15", "2019-02-15")
    assert told(judged(*changed(P18, remission=remission, drug=drug)), "INCL04").startswith("met")


def test_hbsag_after_a_vaccine_dose_is_repeated() -> None:
    positive = lab("hbsag", "+", DAY)
    assert told(judged(*changed(P0, hbsag=positive)), "EXCL02HB").startswith("met")
    dose = took("hepatitis_b_vaccine", "2019-05-10", "2019-05-10")
    assert told(judged(*changed(P0, hbsag=positive, dose=dose)), "EXCL02HB") == "unknown [REPEAT_HBSAG]"


def test_an_active_tumour_against_the_attestation() -> None:
    decision = judged(*changed(P0, tumour=had("malignant_neoplasm", "2018-03")))
    assert told(decision, "EXCL04") == "unknown [ATTESTATION_DIFFERS]"
    assert decision.criterion("EXCL04").review


def test_silence_with_coverage_is_evidence(tmp_path: Path) -> None:
    condition = "{not: {event: hepatitis_b}}"
    assert outcome(tmp_path, condition) == "unknown"
    assert outcome(tmp_path, condition, Coverage("Condition", True)) == "met"
    part = Coverage("Condition", True, start=date(2019, 1, 1))
    assert outcome(tmp_path, condition, part) == "unknown"  # before 2019 nobody asked
    assert outcome(
        tmp_path, condition, Coverage("Condition", True), had("hepatitis_b", presence="unconfirmed")
    ) == ("unknown [UNCONFIRMED]")
    # a concept whose silence says nothing stays unknown however well covered
    assert outcome(tmp_path, "{not: {event: peptic_ulcer}}", Coverage("Condition", True)) == "unknown"


def test_an_alternative_that_cannot_be_evaluated_differs_from_nothing() -> None:
    result = judged(*changed(P0)).criterion("INCL03D")
    assert [(other.name, other.verdict) for other in result.alternatives] == [
        ("equation_2021", Verdict.UNKNOWN)
    ]
    assert "READING_DIFFERS" not in result.flags


def test_distance_from_the_threshold_and_the_reason() -> None:
    result = judged(*changed(P0)).criterion("INCL03A")
    assert (result.distance, result.reason) == ("1 g/d above", "9 g/d > 8 g/d")
    near = judged(*changed(P0, protein=lab("urine_protein_24h", "8.01", DAY))).criterion("INCL03A")
    assert near.distance == "0.01 g/d above"


def test_the_fingerprint_moves_with_evidence_versions_and_days_and_with_nothing_else() -> None:
    base = judged(*changed(P0)).fingerprint
    assert judged(*reversed(changed(P0))).fingerprint == base
    again = lab("urine_protein_24h", "9", DAY)
    newer = replace(again, source=Source(again.source.reference, "2"))
    assert judged(*changed(P0, protein=newer)).fingerprint != base
    assert judged(*changed(P0), as_of=date(2019, 6, 4)).fingerprint != base
    irrelevant = lab("cholesterol", "9", DAY)
    assert judged(*changed(P0, extra=irrelevant)).fingerprint == base


def test_one_subject_at_a_time() -> None:
    with pytest.raises(ValueError, match="exactly one subject"):
        evaluate(protocol(), Facts(), as_of=SCREENING, zone=ZONE)


def test_what_would_settle_an_open_decision() -> None:
    assert settle(protocol(), judged(*changed(P0))) == ()
    rows = changed(P0, protein=None, can_comply=None, tbil=None)
    asked = {question.id: question.settles for question in settle(protocol(), judged(*rows))}
    assert asked == {
        "INCL03A": ("a usable reading of Protein in 24-hour urine, collected 2019-05-06 to 2019-06-03",),
        "EXCL06": ("a usable reading of Total bilirubin, collected 2019-05-06 to 2019-06-03",),
        "EXCL11": ("an answer to the question 'can-comply'",),
    }


def test_a_consent_not_asked_for_yet_is_pending() -> None:
    [question] = settle(protocol(), judged(*changed(P0, consent=None, consent_date=None)))
    assert (question.id, question.pending) == ("INCL05", True)


def test_nothing_is_decided_about_records_that_cannot_be_put_together() -> None:
    """E-28: two survivors, or a ring of merges, leave every criterion open."""
    decision = judged(*changed(P0), excluded="MERGE_CYCLE")
    verdicts = {found.verdict for top in decision.criteria for found in top.walk()}
    assert (decision.overall, verdicts, decision.review) == (Overall.UNDETERMINED, {Verdict.UNKNOWN}, True)
