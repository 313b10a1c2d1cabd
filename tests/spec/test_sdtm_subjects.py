"""Who leaves the hospital, as whom, on which drug: DM, EX, CM, MH and IE."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.errors import ConfigError, ExportError
from adapter.exports.consent import standing
from adapter.exports.dataset import Cell
from adapter.exports.pseudonym import Pseudonymiser, SubjectNumbers
from adapter.model.decision import Verdict
from adapter.model.facts import Coding, Event, Finding, Source
from tests.spec.sdtm_case import (
    KEY,
    QUESTIONNAIRE,
    Case,
    consent,
    decision,
    diagnosis,
    drug,
    enrolled,
    enrolment,
    lab,
    of,
    on,
    person,
    study,
)

P1, P2 = "CANARY-p1", "CANARY-p2"


def attested(
    subject: str, word: str, day: str, signed_on: str = "", questionnaire: str = QUESTIONNAIRE
) -> list[Finding]:
    source = Source(f"QuestionnaireResponse/CANARY-{subject}-{day}")
    answers = [
        Finding(
            subject,
            "",
            source,
            "questionnaire",
            Coding(questionnaire, "consent"),
            value_code=word,
            start=on(day),
        )
    ]
    if signed_on:
        answers.append(
            Finding(
                subject,
                "",
                source,
                "questionnaire",
                Coding(questionnaire, "consent-date"),
                value_date=on(signed_on),
                start=on(day),
            )
        )
    return answers


# The rule: signed this study's consent, or enrolled in it; nothing else leaves.
@pytest.mark.parametrize(
    ("rows", "exported", "reason"),
    [
        ([], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20")], True, "CONSENTED"),
        ([consent(P1, "")], True, "CONSENTED"),
        ([consent(P1, "2019-05-20", "rejected")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", "draft")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", "proposed")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", attributes=(("provision", "deny"),))], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", excluded="ENTERED_IN_ERROR")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", policy="biobank")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20", policy="NCT99999999")], False, "NO_CONSENT"),
        (attested(P1, "signed", "2019-05-21", "2019-05-20"), True, "CONSENTED"),
        (attested(P1, "signed", "2019-05-21", questionnaire="https://other.example"), False, "NO_CONSENT"),
        (attested(P1, "refused", "2019-05-21"), False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "on-study")], True, "ENROLLED"),
        ([enrolment(P1, "2019-06-03", "off-study")], True, "ENROLLED"),
        ([enrolment(P1, "2019-06-03", "on-study", study_id="other")], False, "NO_CONSENT"),
        # pre-screening writes these itself, for people nobody has asked yet
        ([enrolment(P1, "2019-06-03", "candidate")], False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "potential-candidate")], False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "screening")], False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "eligible")], False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "ineligible")], False, "NO_CONSENT"),
        ([enrolment(P1, "2019-06-03", "withdrawn")], False, "NO_CONSENT"),
        ([consent(P1, "2019-05-20"), consent(P1, "2019-08-01", "inactive")], True, "WITHDRAWN"),
        ([consent(P1, "2019-05-20", "inactive")], False, "WITHDRAWN_UNDATED"),
        ([consent(P1, "2019-05-20", "inactive", end=on("2019-08-01"))], True, "WITHDRAWN"),
        ([consent(P1, "2019-05-20"), *attested(P1, "withdrawn", "2019-08-01")], True, "WITHDRAWN"),
        ([*attested(P1, "withdrawn", "2019-08-01"), consent(P1, "2019-09-01")], True, "CONSENTED"),
    ],
)
def test_who_is_exported(rows: list[Event | Finding], exported: bool, reason: str) -> None:
    facts = of(person(P1), *rows)
    judged = standing(facts, study())
    assert (judged.exported, judged.reason) == (exported, reason)
    case = Case(facts)
    assert len(case.rows("DM")) == int(exported)
    if not exported:
        assert case.build().withheld == {f"subjects {reason}": 1}


def test_after_a_withdrawal_nothing_later_leaves() -> None:
    case = Case(
        of(
            person(P1),
            consent(P1, "2019-05-20"),
            consent(P1, "2019-08-01", "inactive"),
            lab(P1, "albumin", "30", "g/L", "2019-08-01"),
            lab(P1, "albumin", "31", "g/L", "2019-08-02"),
            lab(P1, "albumin", "32", "g/L", "2019-08"),  # may be later
        )
    )
    assert [row["LBDTC"] for row in case.rows("LB")] == ["2019-08-01"]
    assert case.build().withheld["rows AFTER_WITHDRAWAL"] == 2
    assert case.rows("DM")[0]["RFPENDTC"] == "2019-08-01"


def test_demographics_of_a_treated_subject() -> None:
    case = enrolled(
        drug(P1, "tacrolimus", "dispense", "2019-06-04", "2019-12-31", "1.5"),
        lab(P1, "albumin", "30", "g/L", "2020-02-01"),
        lab(P1, "albumin", "30", "g/L", "2021-01-01"),  # after the snapshot: no contact yet
    )
    (row,) = case.rows("DM")
    assert {name: row[name] for name in row if row[name] is not None} == {
        "STUDYID": "NCT03864250",
        "DOMAIN": "DM",
        "USUBJID": "NCT03864250-SITE01-001-001",
        "SUBJID": "001-001",
        "RFSTDTC": "2019-06-03T08:00:00",
        "RFENDTC": "2019-12-31",
        "RFXSTDTC": "2019-06-03T08:00:00",
        "RFXENDTC": "2019-12-31",
        "RFICDTC": "2019-05-20",
        "RFPENDTC": "2020-02-01",
        "SITEID": "SITE01",
        "AGE": 48,
        "AGEU": "YEARS",
        "SEX": "M",
        "RACE": "NOT REPORTED",
        "ARMCD": "TAC",
        "ARM": "Tacrolimus",
        "ACTARMCD": "TAC",
        "ACTARM": "Tacrolimus",
        "ACTARMUD": "",
        "COUNTRY": "CHN",
    }


@pytest.mark.parametrize(
    ("birth", "age"),
    [
        ("1969-05-20", 50),  # the fiftieth birthday is the day of consent
        ("1969-05-21", 49),
        ("1969", None),  # 49 or 50
        ("1969-06", 49),  # any day of June is after 20 May
        ("1969-05", None),
        ("", None),
    ],
)
def test_age_is_counted_at_consent_and_only_if_it_is_sure(birth: str, age: int | None) -> None:
    (row,) = Case(of(person(P1, birth), consent(P1, "2019-05-20"))).rows("DM")
    assert (row["AGE"], row["AGEU"]) == (age, None if age is None else "YEARS")


@pytest.mark.parametrize(
    ("rows", "decided", "expected"),
    [
        ([], None, (None, None, "NOT ASSIGNED")),
        ([], Verdict.NOT_MET, (None, None, "SCREEN FAILURE")),
        ([], Verdict.UNKNOWN, (None, None, "NOT ASSIGNED")),
        ([enrolment(P1, "2019-05-30", "ineligible")], None, (None, None, "SCREEN FAILURE")),
        ([enrolment(P1, "2019-06-03", arm="TAC+PRED")], None, ("TACPRED", None, "ASSIGNED, NOT TREATED")),
        (
            [
                enrolment(P1, "2019-06-03", arm="tacrolimus plus prednisone"),
                drug(P1, "tacrolimus", "order", "2019-06-03", "", "1"),
            ],
            None,
            ("TACPRED", "TACPRED", None),
        ),
    ],
)
def test_arms_and_why_there_is_none(
    rows: list[Any], decided: Verdict | None, expected: tuple[Cell, ...]
) -> None:
    decisions = (decision(P1, "2019-05-25", INCL01=("inclusion", decided)),) if decided else ()
    (row,) = Case(of(person(P1), consent(P1, "2019-05-20"), *rows), decisions).rows("DM")
    assert (row["ARMCD"], row["ACTARMCD"], row["ARMNRS"]) == expected


def test_death() -> None:
    dead = person(P1, deceased=True, death=on("2020-01-05"))
    (row,) = Case(of(dead, consent(P1, "2019-05-20"), lab(P1, "albumin", "20", "g/L", "2020-01-04"))).rows(
        "DM"
    )
    assert (row["DTHFL"], row["DTHDTC"], row["RFPENDTC"]) == ("Y", "2020-01-05", "2020-01-05")


# --- subject numbers ------------------------------------------------------------------------------


def test_numbers_come_from_the_log_and_else_from_the_key() -> None:
    facts = of(
        person(P1),
        person(P2, merged=("CANARY-p2-old",)),
        person("CANARY-p3"),
        *(consent(subject, "2019-05-20") for subject in (P1, P2, "CANARY-p3")),
    )
    build = Case(facts).build()
    first, merged, hashed = (build.subjects[subject] for subject in (P1, P2, "CANARY-p3"))
    assert (first, merged) == ("001-001", "001-002")  # a merged patient keeps the number of the former id
    assert hashed[0] == "S"
    assert len(hashed) == 11
    alone = Case(of(person("CANARY-p3"), consent("CANARY-p3", "2019-05-20"))).build()
    assert alone.subjects["CANARY-p3"] == hashed  # whoever else is exported


def test_hashes_differ_by_key_study_and_site() -> None:
    people = [person("a")]
    names = {
        Pseudonymiser(study_id, site, key).subject_numbers(people, SubjectNumbers())["a"]
        for study_id in ("NCT1", "NCT2")
        for site in ("A", "B")
        for key in (KEY, KEY[::-1])
    }
    assert len(names) == 8


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="16 random bytes"):
        Pseudonymiser("NCT1", "A", b"short")


def test_two_people_never_share_a_number() -> None:
    log = SubjectNumbers({"a": "001", "b": "001"})
    with pytest.raises(ExportError, match="share"):
        Pseudonymiser("NCT1", "A", KEY).subject_numbers([person("a"), person("b")], log)


def test_one_person_with_two_numbers_is_a_question_for_a_person() -> None:
    log = SubjectNumbers({"a": "001", "b": "002"})
    with pytest.raises(ExportError, match="two subject numbers"):
        Pseudonymiser("NCT1", "A", KEY).subject_numbers([person("a", merged=("b",))], log)


def test_the_log_is_read_back_and_never_changes_a_number(tmp_path: Any) -> None:
    path = tmp_path / "subjects.json"
    assert SubjectNumbers.load(path).known == {}
    SubjectNumbers().with_numbers({"a": "001"}).with_numbers({"a": "009", "b": "002"}).save(path)
    assert SubjectNumbers.load(path).known == {"a": "001", "b": "002"}
    path.write_text('{"a": "001", "b": "001"}')
    with pytest.raises(ConfigError, match="twice"):
        SubjectNumbers.load(path)
    path.write_text('{"a": "zhang san"}')
    with pytest.raises(ConfigError, match="not a subject number"):
        SubjectNumbers.load(path)


# --- exposure -------------------------------------------------------------------------------------


def exposure(*rows: Any, arm: str = "TAC") -> list[tuple[Cell, ...]]:
    case = Case(of(person(P1), consent(P1, "2019-05-20"), enrolment(P1, "2019-06-03", arm=arm), *rows))
    names = ("EXTRT", "EXDOSE", "EXSTDTC", "EXENDTC", "EXSTDY", "EXENDY")
    found = sorted(case.rows("EX"), key=lambda row: int(str(row["EXSEQ"])))
    return [
        tuple(float(row[n]) if n == "EXDOSE" and row[n] is not None else row[n] for n in names)
        for row in found
    ]  # type: ignore[arg-type]


T = "TACROLIMUS"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # a titration: the later order replaces the earlier one; the last is open
        (
            [
                drug(P1, "tacrolimus", "order", "2019-06-03", "", "1"),
                drug(P1, "tacrolimus", "order", "2019-06-17", "", "1.5"),
            ],
            [(T, 1.0, "2019-06-03", "2019-06-16", 1, 14), (T, 1.5, "2019-06-17", None, 15, None)],
        ),
        # two supplies of the same dose that touch are one interval; a gap of a day makes two
        (
            [
                drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-06-30", "1"),
                drug(P1, "tacrolimus", "dispense", "2019-07-01", "2019-07-28", "1"),
            ],
            [(T, 1.0, "2019-06-03", "2019-07-28", 1, 56)],
        ),
        (
            [
                drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-06-30", "1"),
                drug(P1, "tacrolimus", "dispense", "2019-07-02", "2019-07-28", "1"),
            ],
            [(T, 1.0, "2019-06-03", "2019-06-30", 1, 28), (T, 1.0, "2019-07-02", "2019-07-28", 30, 56)],
        ),
        # what was handed out speaks before what was ordered; where nothing was, the order speaks
        (
            [
                drug(P1, "tacrolimus", "order", "2019-06-03", "2019-06-30", "2"),
                drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-06-16", "1"),
            ],
            [(T, 1.0, "2019-06-03", "2019-06-16", 1, 14), (T, 2.0, "2019-06-17", "2019-06-30", 15, 28)],
        ),
        # an administration speaks for its own day only
        (
            [
                drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-06-09", "1"),
                drug(P1, "tacrolimus", "administration", "2019-06-05T08:00:00+08:00", "", "3"),
            ],
            [
                (T, 1.0, "2019-06-03", "2019-06-04", 1, 2),
                (T, 3.0, "2019-06-05T08:00:00", "2019-06-05", 3, 3),
                (T, 1.0, "2019-06-06", "2019-06-09", 4, 7),
            ],
        ),
        # an administration that agrees with the regimen does not cut it
        (
            [
                drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-06-09", "1"),
                drug(P1, "tacrolimus", "administration", "2019-06-05T20:00:00+08:00", "", "1"),
            ],
            [(T, 1.0, "2019-06-03", "2019-06-09", 1, 7)],
        ),
        # two doses of one day are two rows
        (
            [
                drug(P1, "tacrolimus", "statement", "2019-06-03", "2019-06-09", "2"),
                drug(P1, "tacrolimus", "statement", "2019-06-03", "2019-06-09", "1"),
            ],
            [(T, 1.0, "2019-06-03", "2019-06-09", 1, 7), (T, 2.0, "2019-06-03", "2019-06-09", 1, 7)],
        ),
        # a start that is known to the month stands alone
        ([drug(P1, "tacrolimus", "statement", "2019-07", "", "2")], [(T, 2.0, "2019-07", None, None, None)]),
    ],
)
def test_constant_dose_intervals(rows: list[Any], expected: list[tuple[Cell, ...]]) -> None:
    assert exposure(*rows) == expected
    assert exposure(*reversed(rows)) == expected


def test_study_drug_is_what_the_arm_prescribes_from_enrolment_on() -> None:
    rows = [
        drug(P1, "prednisone", "dispense", "2019-01-01", "2019-02-01", "30"),  # before: a prior medication
        drug(
            P1, "prednisone", "dispense", "2019-06-03", "2019-07-01", "30"
        ),  # in the arm without it: concomitant
        drug(P1, "tacrolimus", "dispense", "2019-06-03", "2019-07-01", "1"),
        drug(P1, "tacrolimus", "order", "2019-06-03", "2019-07-01", "1", excluded="CANCELLED"),
        drug(P1, "tacrolimus_topical", "dispense", "2019-06-03", "2019-07-01", "", systemic=False),
    ]
    case = Case(of(person(P1), consent(P1, "2019-05-20"), enrolment(P1, "2019-06-03", arm="TAC"), *rows))
    assert [row["EXTRT"] for row in case.rows("EX")] == ["TACROLIMUS"]
    assert [(row["CMTRT"], row["CMSTDTC"]) for row in case.rows("CM")] == [
        ("PREDNISONE", "2019-01-01"),
        ("PREDNISONE", "2019-06-03"),
        ("TACROLIMUS TOPICAL", "2019-06-03"),
    ]
    both = Case(of(person(P1), consent(P1, "2019-05-20"), enrolment(P1, "2019-06-03", arm="TACPRED"), *rows))
    assert sorted(str(row["EXTRT"]) for row in both.rows("EX")) == ["PREDNISONE", "TACROLIMUS"]


def test_someone_not_enrolled_has_no_exposure() -> None:
    case = Case(
        of(person(P1), consent(P1, "2019-05-20"), drug(P1, "tacrolimus", "dispense", "2019-06-03", "", "1"))
    )
    assert case.rows("EX") == []
    assert [row["CMTRT"] for row in case.rows("CM")] == ["TACROLIMUS"]


def test_a_supply_that_outlasts_the_snapshot_has_no_end_and_the_future_no_rows() -> None:
    supplied = drug(P1, "tacrolimus", "dispense", "2020-06-15", "2020-07-14", "1")
    planned = drug(P1, "tacrolimus", "order", "2020-07-15", "2020-08-14", "2")
    assert exposure(supplied, planned) == [("TACROLIMUS", 1.0, "2020-06-15", None, 1, None)]


def test_a_supply_that_outlasts_a_withdrawal_has_no_end() -> None:
    case = Case(
        of(
            person(P1),
            consent(P1, "2019-05-20"),
            consent(P1, "2019-08-01", "inactive"),
            enrolment(P1, "2019-06-03", "off-study", "TAC"),
            drug(P1, "tacrolimus", "dispense", "2019-07-15", "2019-08-14", "1"),
            drug(P1, "valsartan", "dispense", "2019-07-15", "2019-08-14", "1"),
        )
    )
    assert [(row["EXSTDTC"], row["EXENDTC"]) for row in case.rows("EX")] == [("2019-07-15", None)]
    assert [(row["CMSTDTC"], row["CMENDTC"]) for row in case.rows("CM")] == [("2019-07-15", None)]


# --- medications and history ----------------------------------------------------------------------


def test_concomitant_medication_in_controlled_terms() -> None:
    case = enrolled(
        drug(
            P1,
            "valsartan",
            "statement",
            "2019-03",
            "",
            "80",
            ongoing=True,
            frequency="qd",
            route="oral",
            form="片剂",
            classes=("arb", "raas_blocker"),
        )
    )
    (row,) = case.rows("CM")
    assert {name: row[name] for name in row if row[name] is not None} == {
        "STUDYID": "NCT03864250",
        "DOMAIN": "CM",
        "USUBJID": "NCT03864250-SITE01-001-001",
        "CMSEQ": 1,
        "CMTRT": "VALSARTAN",
        "CMDECOD": "VALSARTAN",
        "CMCAT": "RAAS BLOCKADE",
        "CMDOSE": 80,
        "CMDOSU": "mg",
        "CMDOSFRM": "TABLET",
        "CMDOSFRQ": "QD",
        "CMROUTE": "ORAL",
        "CMSTDTC": "2019-03",
        "CMENRTPT": "ONGOING",
        "CMENTPT": "2019-06-03",
    }


def test_a_dose_without_a_known_unit_is_left_out() -> None:
    case = enrolled(drug(P1, "tacrolimus_topical", "statement", "2019-03-01", "", "1", dose_unit="支"))
    (row,) = case.rows("CM")
    assert (row["CMDOSE"], row["CMDOSU"]) == (None, None)


def test_a_supply_that_outlasts_the_last_contact_was_ongoing_then() -> None:
    case = enrolled(drug(P1, "valsartan", "dispense", "2019-05-20", "2019-07-14", "80"))
    (row,) = case.rows("CM")
    assert (row["CMENDTC"], row["CMENRTPT"], row["CMENTPT"]) == (None, "ONGOING", "2019-06-03")


@pytest.mark.parametrize(
    ("code", "term"),
    [
        (Coding("http://www.whocc.no/atc", "C09CA03", "CANARY"), "ATC C09CA03"),
        (Coding("http://www.nlm.nih.gov/research/umls/rxnorm", "69749", "CANARY"), "RxNorm 69749"),
        (Coding("http://www.whocc.no/atc", "CANARY-CODE", "CANARY"), None),
        (Coding("urn:oid:1.2.3", "C09CA03", "CANARY"), None),
        (Coding("", "", "CANARY 缬沙坦胶囊 张三"), None),
    ],
)
def test_an_unmapped_drug_is_named_by_a_public_code_or_not_at_all(code: Coding, term: str | None) -> None:
    case = enrolled(drug(P1, "", "statement", "2019-03-01", "", "80", code=code))
    assert [row["CMTRT"] for row in case.rows("CM")] == ([term] if term else [])
    assert case.build().withheld == ({} if term else {"CM NO_CODED_TERM": 1})


def test_medical_history_is_what_was_so_by_consent() -> None:
    case = enrolled(
        diagnosis(P1, "membranous_nephropathy", "2018-11", recorded=on("2019-01-05")),
        diagnosis(
            P1, "membranous_nephropathy", "2018-11", recorded=on("2019-01-05"), code=Coding("x", "y", "z")
        ),
        diagnosis(P1, "diabetes", "2010", end=on("2015"), presence="past"),
        diagnosis(
            P1, "", "2012-01-01", code=Coding("http://hl7.org/fhir/sid/icd-10", "I10", "CANARY 高血压")
        ),
        diagnosis(P1, "", "2012-01-01", code=Coding("", "", "CANARY 高血压")),
        diagnosis(P1, "pulmonary_embolism", "2019-07-01"),
        diagnosis(P1, "hiv", "2018-01-01", presence="unconfirmed"),
        diagnosis(P1, "syphilis", "2018-01-01", presence="refuted"),
        diagnosis(P1, "peptic_ulcer", "2018-01-01", excluded="ENTERED_IN_ERROR"),
    )
    rows = sorted(case.rows("MH"), key=lambda row: int(str(row["MHSEQ"])))
    shown = [
        tuple(row[name] for name in ("MHTERM", "MHCAT", "MHDTC", "MHSTDTC", "MHENDTC", "MHENRTPT", "MHENTPT"))
        for row in rows
    ]
    assert shown == [
        ("Diabetes mellitus", "GENERAL", None, "2010", "2015", None, None),
        ("ICD-10 I10", "GENERAL", None, "2012-01-01", None, "ONGOING", "2019-05-20"),
        (
            "Membranous nephropathy",
            "PRIMARY DIAGNOSIS",
            "2019-01-05",
            "2018-11",
            None,
            "ONGOING",
            "2019-05-20",
        ),
    ]
    assert case.build().withheld == {
        "MH AFTER_CONSENT": 1,
        "MH ENTERED_IN_ERROR": 1,
        "MH NO_CODED_TERM": 1,
        "MH REFUTED": 1,
        "MH UNCONFIRMED": 1,
    }


# --- criteria not met -----------------------------------------------------------------------------


def test_only_criteria_not_met_are_reported_and_silence_is_not_one() -> None:
    decided = decision(
        P1,
        "2019-05-25",
        INCL01=("inclusion", Verdict.MET),
        INCL03=("inclusion", Verdict.NOT_MET),
        INCL034=("inclusion", Verdict.NOT_MET),
        EXCL06=("exclusion", Verdict.MET),
        EXCL11=("exclusion", Verdict.UNKNOWN),
    )
    older = decision(P1, "2019-05-01", INCL01=("inclusion", Verdict.NOT_MET))
    case = Case(of(person(P1), consent(P1, "2019-05-20")), (decided, older))
    shown = [
        tuple(row[name] for name in ("IESEQ", "IETESTCD", "IETEST", "IECAT", "IEORRES", "IESTRESC", "IEDTC"))
        for row in case.rows("IE")
    ]
    assert shown == [
        (
            1,
            "EXCL06",
            "ALT, AST or total bilirubin beyond 1.5 times upper limit",
            "EXCLUSION",
            "Y",
            "Y",
            "2019-05-25",
        ),
        (
            2,
            "INCL034",
            "High risk, or > 6 months without remission and >= 3.5 g/24h",
            "INCLUSION",
            "N",
            "N",
            "2019-05-25",
        ),
    ]


def test_criteria_of_people_without_consent_stay_inside() -> None:
    decided = decision(P1, "2019-05-25", INCL01=("inclusion", Verdict.NOT_MET))
    assert Case(of(person(P1)), (decided,)).rows("IE") == []
