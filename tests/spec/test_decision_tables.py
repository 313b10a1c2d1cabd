"""How a criterion is decided from its lines: the first that is true, with its reason, flags and review.

Expected values follow the decision table's own rules (``docs/protocol-vocabulary.md``), by hand.
"""

from __future__ import annotations

import textwrap
from datetime import date
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapter.model.decision import CriterionResult, Decision, Verdict
from adapter.model.facts import Source
from adapter.protocol import evaluate, evaluate_candidate, is_candidate, load
from adapter.protocol.outcome import overall_of
from tests.spec.protocol_words import (
    P0,
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
    vocabulary,
)
from tests.spec.test_why import PROTOCOL
from tests.spec.test_why import shown as evidence_of

HIGH, LOW = "{finding: urine_protein_24h, above: 8 g/d}", "{finding: urine_protein_24h, at_most: 8 g/d}"
NINE, SEVEN = lab("urine_protein_24h", "9", "2019-05-10"), lab("urine_protein_24h", "7", "2019-05-10")


def ruled(folder: Path, rule: str, *rows: Row) -> CriterionResult:
    """The verdict on a criterion RULE with this body; further criteria may follow it."""
    text = PROTOCOL + textwrap.indent(textwrap.dedent(rule), "    ")
    (folder / "protocol.yaml").write_text(text, encoding="utf-8")
    decision = evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)
    return decision.criterion("RULE")


TABLE = f"""
    decide:
      - met: {HIGH}
        because: nephrotic
        flags: [HEAVY]
      - unknown: {{attested: can-comply, is: false}}
        because: nobody can say
        flags: [REVIEW]
      - unknown: {{attested: can-comply, is: true}}
      - not_met: {{finding: albumin, above: 40 g/L}}
        review: true
"""


@pytest.mark.parametrize(
    ("rows", "verdict", "reason", "flags", "settles", "review"),
    [
        ([NINE], "met", "nephrotic (9 g/d > 8 g/d)", ("HEAVY",), (), False),
        # its own reason is what would settle it; the flag asks for a person
        (
            [SEVEN, said("can-comply", "false")],
            "unknown",
            "nobody can say (answer false)",
            ("REVIEW",),
            ("nobody can say",),
            True,
        ),
        # a line without a reason: the comparison is the reason, and nothing is asked for
        ([SEVEN, said("can-comply", "true")], "unknown", "answer true", (), (), False),
        # unknown lines above are passed, and shown, but do not stop one that is true
        (
            [lab("albumin", "41", "2019-05-10")],
            "not_met",
            "41 g/L > 40 g/L",
            ("REVIEW",),
            (),
            True,
        ),
        # all lines are known not to be true
        (
            [SEVEN, said("can-comply", "perhaps"), lab("albumin", "39", "2019-05-10")],
            "unknown",
            "no line of the rule applies",
            (),
            (),
            False,
        ),
    ],
)
def test_the_first_true_line_decides(
    tmp_path: Path,
    rows: list[Row],
    verdict: str,
    reason: str,
    flags: tuple[str, ...],
    settles: tuple[str, ...],
    review: bool,
) -> None:
    found = ruled(tmp_path, TABLE, *rows)
    assert (found.verdict.value, found.reason, found.flags) == (verdict, reason, flags)
    assert (found.settles, found.review) == (settles, review)


def test_a_reason_without_a_comparison_stands_alone(tmp_path: Path) -> None:
    rule = "decide: [{met: {not: {event: hepatitis_b, if_none: absent}}, because: no hepatitis B on record}]"
    assert ruled(tmp_path, rule).reason == "no hepatitis B on record"


def test_a_verdict_without_any_words_says_itself(tmp_path: Path) -> None:
    rule = "decide: [{not_met: {not: {event: hepatitis_b, if_none: absent}}}]"
    assert ruled(tmp_path, rule).reason == "not met"


def test_the_reason_is_what_was_used_not_what_was_looked_at(tmp_path: Path) -> None:
    """The earlier 9 g/d was compared as well, but the later reading decided."""
    early = lab("urine_protein_24h", "9", "2019-01-10")
    found = ruled(tmp_path, f"decide: [{{met: {LOW}, because: not heavy}}]", early, SEVEN)
    assert found.reason == "not heavy (7 g/d <= 8 g/d)"


OTHER = """
  - id: OTHER
    kind: inclusion
    text: a sentence
    source: a page
    decide:
      - met: {finding: albumin, below: 30 g/L}
        flags: [LOW]
        review: true
      - unknown: {finding: albumin, at_least: 40 g/L}
        because: too high to be true
"""


def test_asking_for_another_criterion_brings_all_it_says(tmp_path: Path) -> None:
    text = PROTOCOL + "    met_when: {criterion: OTHER}" + OTHER
    (tmp_path / "protocol.yaml").write_text(text, encoding="utf-8")

    def asked(value: str) -> CriterionResult:
        row = lab("albumin", value, "2019-05-10")
        decision = evaluate(load(tmp_path, vocabulary()), facts(row), as_of=SCREENING, zone=ZONE)
        return decision.criterion("RULE")

    low, high = asked("25"), asked("41")
    assert (low.verdict.value, low.flags, low.review) == ("met", ("LOW", "REVIEW"), True)
    assert (low.distance, low.settles) == ("5 g/L below", ())
    assert evidence_of(low) == ["used 2019-05-10 25 g/L: 25 g/L < 30 g/L"]
    assert (high.verdict.value, high.settles) == ("unknown", ("too high to be true",))


def test_another_reading_of_the_sentence_is_shown_in_its_own_words() -> None:
    """INCL03D: CKD-EPI 2009 as registered, and 2021 beside it."""
    [other] = judged(*changed({})).criterion("INCL03D").alternatives
    assert (other.name, other.reading) == ("equation_2021", "eGFR by CKD-EPI 2021")


def test_records_that_cannot_be_put_together_ask_for_one_survivor() -> None:
    decision = judged(excluded="MERGE_CYCLE")
    for top in decision.criteria:
        assert (top.flags, top.settles) == (("MERGE_CYCLE", "REVIEW"), ("one surviving patient record",))
        assert "MERGE_CYCLE" in top.reason
    # criteria within criteria are not lost
    assert decision.criterion("INCL03A").verdict.value == "unknown"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # a PLA2R test that is negative is often ordered to rule the disease out
        ([lab("pla2r_antibody", "-", "2019-05-10")], False),
        ([lab("pla2r_antibody", "+", "2019-05-10")], True),
        ([lab("pla2r_antibody", "-", "2019-05-10"), had("membranous_nephropathy", "2019-01-01")], True),
        # no result at all: it is not known that all are negative
        ([], True),
    ],
)
def test_who_is_worth_a_verdict(rows: list[Row], expected: bool) -> None:
    assert is_candidate(protocol(), facts(*rows), as_of=SCREENING, zone=ZONE) is expected


def test_somebody_on_the_study_is_judged_as_of_the_day_of_assessment() -> None:
    """Whether to judge at all is asked today; the verdict is that of the day before entry."""
    today = date(2019, 12, 1)

    def judged_then(*rows: Row) -> Decision | None:
        return evaluate_candidate(protocol(), facts(*rows), as_of=today, assessed=SCREENING, zone=ZONE)

    later = lab("urine_protein_24h", "1", "2019-11-01")
    rows = (*changed(P0), later)
    assert judged_then(*rows) == evaluate(protocol(), facts(*rows), as_of=SCREENING, zone=ZONE)
    assert judged_then(*rows) != evaluate(protocol(), facts(*rows), as_of=today, zone=ZONE)
    # a PLA2R test alone, and that negative; the same with a diagnosis that came after the assessment
    negative = lab("pla2r_antibody", "-", "2019-05-10")
    assert judged_then(negative) is None
    assert judged_then(negative, had("membranous_nephropathy", "2019-11-01")) is not None
    same_day = evaluate_candidate(protocol(), facts(*rows), as_of=SCREENING, assessed=SCREENING, zone=ZONE)
    assert same_day == judged_then(*rows)


def decided(folder: Path, rule: str, *rows: Row) -> Decision:
    text = PROTOCOL + textwrap.indent(textwrap.dedent(rule), "    ")
    (folder / "protocol.yaml").write_text(text, encoding="utf-8")
    return evaluate(load(folder, vocabulary()), facts(*rows), as_of=SCREENING, zone=ZONE)


@pytest.mark.parametrize(
    ("pending", "rows", "expected"),
    [
        ("true", [], ("RULE",)),
        ("true", [NINE], ()),
        ("true", [SEVEN], ()),
        ("false", [], ()),
    ],
)
def test_what_was_not_asked_for_yet_is_pending(
    tmp_path: Path, pending: str, rows: list[Row], expected: tuple[str, ...]
) -> None:
    assert decided(tmp_path, f"met_when: {HIGH}\npending: {pending}\n", *rows).pending == expected


def test_the_fingerprint_tells_apart_what_was_decided_from_what() -> None:
    """It is 64 hexadecimal digits over the verdicts and the versions of the records that were used."""
    again, usual = judged(*changed(P0)), judged(*changed(P0))
    older = lab("albumin", "25", "2019-05-01")
    assert len(usual.fingerprint) == 64
    assert int(usual.fingerprint, 16) >= 0
    assert again.fingerprint == usual.fingerprint
    corrected = replace(P0["albumin"], source=Source(P0["albumin"].source.reference, "2"))
    assert judged(*changed(P0, albumin=corrected)).fingerprint != usual.fingerprint
    beside = judged(*changed(P0, older=older)).fingerprint
    older = replace(older, source=Source(older.source.reference, "2"))
    assert judged(*changed(P0, older=older)).fingerprint == beside
    assert beside == usual.fingerprint, "an older reading that says the same decides nothing"


@pytest.mark.parametrize(
    ("verdicts", "overall"),
    [
        # a definite failure decides, whatever else is not known: an inclusion not met, an exclusion met
        ("inclusion met, exclusion not_met", "eligible"),
        ("inclusion not_met, exclusion not_met", "ineligible"),
        ("inclusion met, exclusion met", "ineligible"),
        ("inclusion unknown, exclusion met", "ineligible"),
        ("inclusion not_met, exclusion unknown", "ineligible"),
        ("inclusion unknown, exclusion not_met", "undetermined"),
        ("inclusion met, exclusion unknown", "undetermined"),
        ("exit met", "eligible"),  # what is monitored says nothing about who may enter
    ],
)
def test_the_overall_verdict(verdicts: str, overall: str) -> None:
    pairs = [one.split() for one in verdicts.split(", ")]
    results = [CriterionResult("RULE", kind, Verdict(verdict), "planted") for kind, verdict in pairs]  # type: ignore[arg-type]
    assert overall_of(results).value == overall
