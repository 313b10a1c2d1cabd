"""The exclusions of NCT03864250 rule by rule; inclusions and the ground rules are in ``test_eligibility``."""

from __future__ import annotations

import pytest

from adapter.model.coverage import Coverage
from adapter.model.decision import Overall
from tests.spec.protocol_words import (
    DAY,
    P0,
    changed,
    had,
    judged,
    lab,
    said,
    told,
    took,
)

WASHOUT = [
    ("2019-03-06", "met"),  # V10a: 89 days
    ("2019-03-05", "met [BOUNDARY]"),  # V10b: 90 days, inclusive
    ("2019-03-04", "not_met [READING_DIFFERS]"),  # 91 days, inside three calendar months
    ("2019-03-03", "not_met [READING_DIFFERS]"),  # 92 days, the calendar limit
    ("2019-03-02", "not_met"),  # V10d: 93 days
    ("2019-03", "unknown"),  # V10e: 64 to 94 days
    ("", "met"),  # still taken
]


@pytest.mark.parametrize(("last", "expected"), WASHOUT)
def test_last_immunosuppressant(last: str, expected: str) -> None:
    decision = judged(*changed(P0, drug=took("prednisone", "2019-01-01", last)))
    assert told(decision, "EXCL05") == expected


@pytest.mark.parametrize(
    ("drug", "expected", "review"),
    [
        (
            took("dexamethasone", "2019-04-24", "2019-04-24"),
            "met [READING_DIFFERS, SINGLE_DOSE]",
            True,
        ),  # V11a
        (took("tacrolimus_topical", "2019-05-20", systemic=False), "not_met", False),  # V11b
        (took("prednisone", "2019-05-20", systemic=None), "unknown", False),
        (took("tripterygium", "2019-05-01", "2019-05-14", kind="order"), "met [REQUEST_ONLY]", True),  # V11d
        (took("rituximab", "2018-10-01", "2018-10-01"), "not_met [LONG_ACTING]", False),  # V11e
        (took("hydroxychloroquine", "2019-03-01"), "unknown [IMMUNOMODULATOR]", True),  # V11f
        (took("prednisone", "2019-05-01", excluded="ENTERED_IN_ERROR"), "not_met", False),
        (lab("tacrolimus_trough", "3.1", "2019-04-20"), "met [LEVEL_MEASURED]", False),
    ],
)
def test_what_counts_as_immunosuppression(drug: object, expected: str, review: bool) -> None:
    decision = judged(*changed(P0, drug=drug))  # type: ignore[arg-type]
    assert (told(decision, "EXCL05"), decision.review) == (expected, review)


def test_no_medication_record_is_no_answer_without_a_complete_history() -> None:
    assert told(judged(*changed(P0, medication_history_complete=None)), "EXCL05") == "unknown"


@pytest.mark.parametrize(
    ("changes", "criterion", "expected"),
    [
        ({"hbcab": lab("hbcab", "+", DAY)}, "EXCL02HB", "met [ISOLATED_ANTI_HBC]"),  # V13a
        ({"hbcab": None}, "EXCL02HB", "unknown"),  # V13b
        ({"hbsag": lab("hbsag", "(+)", DAY)}, "EXCL02HB", "met"),  # V13d
        ({"old": lab("hbsag", "+", "2018-02-01")}, "EXCL02HB", "unknown [SEROLOGY_CHANGED]"),
        ({"b": had("hepatitis_b", "2010")}, "EXCL02HB", "met"),
        ({"b": had("hepatitis_b", "2019", presence="unconfirmed")}, "EXCL02HB", "unknown"),
        ({"hcv_antibody": lab("hcv_antibody", "+", DAY)}, "EXCL02HC", "unknown"),
        ({"hcv_antibody": lab("hcv_antibody", "-", "2018-11-15")}, "EXCL02HC", "unknown"),  # 200 days old
        (
            {"syphilis_treponemal": lab("syphilis_treponemal", "+", DAY)},
            "EXCL02SY",
            "unknown [SYPHILIS_UNSETTLED]",
        ),
        ({"hiv_screen": lab("hiv_screen", "+", DAY)}, "EXCL02HI", "unknown"),  # V13h
        ({"igra": lab("igra", "+", DAY)}, "EXCL02TB", "unknown [LATENT_TB]"),  # V13g
        ({"igra": lab("igra", "?", DAY)}, "EXCL02TB", "unknown"),
        ({"cmv_dna": None, "m": lab("cmv_igm", "+", DAY)}, "EXCL02CM", "unknown [CMV_IGM_ONLY]"),
        ({"fungal_infection": None}, "EXCL02FU", "unknown"),
        # an answer between positive and negative is neither
        ({"hbsag": lab("hbsag", "?", DAY)}, "EXCL02HB", "unknown"),
        # a diagnosis that is not confirmed is not passed over for a negative test
        ({"h": had("hiv", "2019-05-01", presence="unconfirmed")}, "EXCL02HI", "unknown"),
        ({"c": had("cmv_disease", "2019-05-01", presence="unconfirmed")}, "EXCL02CM", "unknown"),
        ({"t": had("tuberculosis_latent", presence="unconfirmed")}, "EXCL02TB", "unknown [LATENT_TB]"),
    ],
)
def test_infections(changes: dict[str, object], criterion: str, expected: str) -> None:
    decision = judged(*changed(P0, **changes))  # type: ignore[arg-type]
    result = told(decision, criterion)
    assert result.split(" [")[0] == expected.split(" [")[0]
    assert set(flags(expected)) <= set(flags(result))


def test_hepatitis_c_antibody_without_virus_is_past_infection_and_asks_for_a_person() -> None:
    rows = changed(P0, hcv_antibody=lab("hcv_antibody", "+", DAY), rna=lab("hcv_rna", "-", DAY))
    decision = judged(*rows)
    assert told(decision, "EXCL02HC") == "not_met [PAST_INFECTION]"
    assert (decision.overall, decision.review) == (Overall.ELIGIBLE, True)


@pytest.mark.parametrize(
    ("alt", "expected"),
    [
        (lab("alt", "60", DAY, limit=40), "not_met [BOUNDARY]"),  # V14a: 60 = 1.5 x 40
        (lab("alt", "61", DAY, limit=40), "met"),  # V14b
        (lab("alt", "61", DAY), "unknown [NO_REFERENCE_RANGE]"),  # V14c
        (lab("alt", "61", DAY, limit=50), "not_met"),  # V14d
        (None, "unknown"),
    ],
)
def test_liver_values_against_their_own_limit(alt: object, expected: str) -> None:
    assert told(judged(*changed(P0, alt=alt)), "EXCL06") == expected  # type: ignore[arg-type]


def test_one_raised_enzyme_is_enough_though_another_is_missing() -> None:
    assert told(judged(*changed(P0, alt=lab("alt", "100", DAY, limit=40), tbil=None)), "EXCL06") == "met"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("10", "not_met"),
        ("30", "not_met [BOUNDARY]"),
        ("30%", "not_met [BOUNDARY]"),
        ("31", "met"),
        ("<30%", "not_met"),
        ("25-50%", "unknown"),
        (">25%", "unknown"),
        ("<=30%", "not_met [BOUNDARY]"),
        ("≤25%", "not_met"),
        (">=30%", "unknown [BOUNDARY]"),  # 30 itself is possible
        ("≥31%", "met"),
        (">30%", "met"),  # as ">8" in V7f
        ("30-30%", "not_met [BOUNDARY]"),
        ("50-25%", "unknown"),  # the wrong way round says nothing
        ("mild", "not_met [FIBROSIS_IN_WORDS]"),
        ("moderate", "unknown [FIBROSIS_IN_WORDS]"),
        ("severe", "met [FIBROSIS_IN_WORDS]"),
    ],
)
def test_fibrosis_as_a_pathologist_writes_it(answer: str, expected: str) -> None:
    assert told(judged(*changed(P0, fibrosis_percent=said("fibrosis-percent", answer))), "EXCL01") == expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        ("2016-06-01", "unknown [CURED_UNDER_5_YEARS]"),
        ("2014-06-03", "not_met [BOUNDARY]"),
        ("2014", "unknown"),
        ("2013", "not_met"),
    ],
)
def test_cured_tumour(end: str, expected: str) -> None:
    rows = changed(P0, malignancy=said("malignancy", "cured"), end=said("malignancy-end-of-treatment", end))
    assert told(judged(*rows), "EXCL04") == expected


WOMAN = {
    **P0,
    "hcg": lab("hcg", "-", "2019-05-30"),
    "child-bearing-potential": said("child-bearing-potential", "true"),
    "lactating": said("lactating", "false"),
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "not_met"),
        ({"hcg": lab("hcg", "+", "2019-05-30")}, "met"),
        ({"hcg": lab("hcg", "-", "2019-05-20")}, "unknown"),  # 14 days; a negative counts for 7
        ({"hcg": lab("hcg", "12", "2019-05-30")}, "unknown"),
        ({"hcg": None, "child_bearing_potential": said("child-bearing-potential", "false")}, "not_met"),
        ({"lactating": None}, "unknown"),
        ({"lactating": said("lactating", "true")}, "met"),
        ({"pregnancy": had("pregnancy", "2019-03-01")}, "met"),
        ({"pregnancy": had("pregnancy", "2015-03-01")}, "not_met"),  # an episode nobody closed
    ],
)
def test_pregnancy_and_lactation(changes: dict[str, object], expected: str) -> None:
    assert told(judged(*changed(WOMAN, **changes), sex="female"), "EXCL08") == expected  # type: ignore[arg-type]


def allergy(drug: str, kind: str = "") -> object:
    attributes = (("type", kind),) if kind else ()
    return had(drug, category="allergy", attributes=attributes)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (allergy("tacrolimus", "allergy"), "met"),
        (allergy("prednisone", "allergy"), "met"),
        (allergy("tacrolimus", "intolerance"), "unknown [RELATED_REACTION]"),
        (allergy("tacrolimus"), "unknown [RELATED_REACTION]"),
        (allergy("methylprednisolone", "allergy"), "unknown [RELATED_REACTION]"),
    ],
)
def test_allergy_to_a_study_drug(row: object, expected: str) -> None:
    rows = changed(P0, no_allergy=None, study_drug_allergy=None, row=row)  # type: ignore[arg-type]
    assert told(judged(*rows), "EXCL09") == expected


def study(start: str, end: str, **attributes: str) -> object:
    return had(
        "research_subject", start, end, category="research-subject", attributes=tuple(attributes.items())
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (study("2019-01-10", "2019-04-01", study="ResearchStudy/other"), "met"),
        # ended 91 days before, and nobody said that there was no other
        (study("2019-01-10", "2019-03-04", study="ResearchStudy/other"), "unknown"),
        (study("2019-05-01", "", study="ResearchStudy/1", study_identifier="NCT03864250"), "unknown"),
        (
            study("2019-05-01", "", study="ResearchStudy/1", study_type="observational"),
            "unknown [STUDY_KIND]",
        ),
    ],
)
def test_other_trials(row: object, expected: str) -> None:
    rows = changed(P0, other_trial=None, row=row)  # type: ignore[arg-type]
    assert told(judged(*rows), "EXCL10") == expected


def test_a_diagnosis_not_recorded_is_absent_only_where_everything_was_fetched() -> None:
    rows = changed(P0, hbsag=None)
    result = judged(*rows).criterion("EXCL02HB")
    assert "a statement about Hepatitis B" in " ".join(result.settles)
    covered = judged(*rows, Coverage("Condition", True)).criterion("EXCL02HB")
    assert "a statement about Hepatitis B" not in " ".join(covered.settles)
    failed = judged(*rows, Coverage("Condition", True), Coverage("Condition", False, reason="403"))
    assert "a statement about Hepatitis B" in " ".join(failed.criterion("EXCL02HB").settles)


def flags(text: str) -> list[str]:
    return text.partition("[")[2].rstrip("]").split(", ") if "[" in text else []
