"""Turns a planned screening work-up into the records a hospital would hold."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from adapter.demo.catalogue import CATALOGUE
from adapter.demo.fhir_json import (
    ICD10,
    LOINC,
    SNOMED,
    Chart,
    Resource,
    at,
    concept,
    quantity,
    reference_range,
    status_code,
)
from adapter.demo.pharmacy import dispense, order
from adapter.demo.plan import BASE_LABS, PROTOCOL, Answers, Lab, base_answers

QUESTIONNAIRE = f"https://trial-fhir-adapter.org/fhir/Questionnaire/{PROTOCOL}-attestation"
ANSWER_SYSTEM = f"https://trial-fhir-adapter.org/fhir/CodeSystem/{PROTOCOL}-attestation"
STUDY = {"reference": "ResearchStudy/study-nct03864250"}
CHOICES = frozenset({"biopsy-histology", "biopsy-stage", "consent", "ulcer", "malignancy"})
DATES = frozenset({"onset-date", "biopsy-date", "malignancy-end-of-treatment"})
DATE_TIMES = frozenset({"consent-date"})
UCUM_AS_PRINTED = frozenset({"mg/dL", "g/dL", "L", "g/d"})
PANELS = (
    ("肝功能", ("albumin", "alt", "ast", "bilirubin_total")),
    ("肾功能", ("creatinine", "glucose")),
    ("感染八项", ("hbsag", "hbsab", "hbeag", "hbcab", "hcv_antibody", "hiv_screen")),
)


def day_of(lab: Lab, screening: date) -> tuple[date, str]:
    """The day of a planted result, and its exact stamp if the plan gives one."""
    if isinstance(lab.day, int):
        return screening - timedelta(days=lab.day), ""
    return date.fromisoformat(lab.day[:10]), lab.day if len(lab.day) > 10 else ""


def result(chart: Chart, key: str, lab: Lab, screening: date) -> Resource:
    """File one planted result as an Observation."""
    item = CATALOGUE[key]
    day, stamp = day_of(lab, screening)
    own_unit = lab.unit is None
    unit, code = (item.unit, item.ucum) if own_unit else (lab.unit or "", "")
    if lab.unit in UCUM_AS_PRINTED:
        code = lab.unit
    if lab.form == "answer":
        return chart.answered(
            key, day, lab.value, style=lab.style, status=lab.status, when=stamp, lab=lab.lab
        )
    if lab.form == "string":
        value: Resource = {"valueString": f"{lab.value} {unit}".strip()}
    else:
        value = {"valueQuantity": quantity(lab.value, unit, code, lab.comparator)}
    ranges: list[Resource] | None = None
    if lab.range_text:
        ranges = [{"text": lab.range_text}]
    elif lab.high is not None:
        ranges = [reference_range("", lab.high, item.unit, item.ucum)] if lab.high else []
    elif lab.unit in UCUM_AS_PRINTED:
        ranges = []  # the printed limits are in another unit
    return chart.observation(
        key, day, value, style=lab.style, status=lab.status, ref=ranges, when=stamp, lab=lab.lab
    )


def laboratory(chart: Chart, screening: date, changes: Mapping[str, Lab | None]) -> None:
    """The base patient's results with the story's changes, and the reports that hold them."""
    planned: dict[str, Lab | None] = {**BASE_LABS, **changes}
    for key, lab in planned.items():
        if lab is not None:
            result(chart, key, lab, screening)
    if "creatinine" not in changes:
        chart.measured("creatinine", screening - timedelta(days=50), "79")
    for name, keys in PANELS:
        members = [chart.labs[key][0] for key in keys if key in chart.labs]
        chart.panel(screening - timedelta(days=6), name, members)


def attest(chart: Chart, screening: date, answers: Answers, hour: int = 10) -> Resource:
    """The physician's attestation; an answer of None is a question left open."""
    items = [
        {"linkId": link, "answer": [_answer(link, value)]}
        for link, value in answers.items()
        if value is not None
    ]
    return chart.add(
        "QuestionnaireResponse",
        at(screening, hour, 5),
        questionnaire=QUESTIONNAIRE,
        status="completed",
        subject=chart.me,
        authored=at(screening, hour),
        author={"type": "Practitioner", "display": "肾内科医师"},
        item=items,
    )


def _answer(link: str, value: object) -> Resource:
    if isinstance(value, bool):
        return {"valueBoolean": value}
    text = str(value)
    if link in CHOICES:
        return {"valueCoding": {"system": ANSWER_SYSTEM, "code": text}}
    if link in DATES:
        return {"valueDate": text}
    return {"valueDateTime": text} if link in DATE_TIMES else {"valueString": text}


def diagnosis(chart: Chart, screening: date) -> Resource:
    """Membranous nephropathy as this hospital codes it: China's ICD-10 extension, or SNOMED as well."""
    icd = (ICD10, chart.rng.choice(("N04.200x001", "N04.200", "N04.2")), "肾病综合征,膜性肾病")
    snomed = (SNOMED, "77182004", "Membranous glomerulonephritis")
    codings = (icd, snomed) if chart.rng.random() < 0.3 else (icd,)
    day = screening - timedelta(days=47)
    return chart.condition(day.isoformat(), "肾病综合征 膜性肾病", *codings, recordedDate=day.isoformat())


def biopsy(chart: Chart, screening: date, biopsied: date, stage: str = "II", text: str = "膜性肾病") -> None:
    chart.procedure(biopsied, "经皮肾穿刺活检术", (SNOMED, "7246002", ""))
    report = chart.panel(biopsied + timedelta(days=3), "肾活检病理报告", [])
    report["code"] = concept(
        "肾活检病理报告", (LOINC, "22637-3", "Pathology report final diagnosis Narrative")
    )
    report["category"] = [concept("病理")]
    report["conclusion"] = f"{text}({stage}期)。免疫荧光 IgG、C3 沿毛细血管壁颗粒样沉积。"
    if stage == "II" and text == "膜性肾病":
        report["conclusionCode"] = [concept("", (SNOMED, "236414001", ""))]


def consent(chart: Chart, day: date, status: str = "active") -> Resource:
    return chart.add(
        "Consent",
        at(day, 9, 30),
        status=status,
        scope={
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]
        },
        category=[concept("临床试验知情同意书", (LOINC, "59284-0", "Patient Consent"))],
        patient=chart.me,
        dateTime=at(day, 9),
        policyRule=concept(PROTOCOL),
        provision={"data": [{"meaning": "related", "reference": STUDY}]},
    )


def no_known_allergy(chart: Chart, day: date) -> Resource:
    return allergy(chart, day, concept("无已知过敏", (SNOMED, "716186003", "No known allergy")))


def allergy(chart: Chart, day: date, code: Resource, **more: object) -> Resource:
    made = chart.add("AllergyIntolerance", at(day, 9))
    made |= {
        "clinicalStatus": status_code("allergyintolerance-clinical", "active"),
        "verificationStatus": status_code("allergyintolerance-verification", "confirmed"),
        "code": code,
        "patient": chart.me,
        "recordedDate": at(day, 9),
        **more,
    }
    return made


def background_therapy(chart: Chart, screening: date) -> None:
    """Valsartan only: it is not an immunosuppressant and no rule of this protocol speaks of it."""
    day = screening - timedelta(days=47)
    order(chart, "valsartan", day, 56, "80", 1, form="external")
    dispense(chart, "valsartan", day, 56, "80", 1)


def visits(chart: Chart, screening: date) -> None:
    chart.encounter(screening - timedelta(days=51), screening - timedelta(days=45), "IMP")
    for before in (20, 6, 0):
        chart.encounter(screening - timedelta(days=before), screening - timedelta(days=before))
    chart.pressure(screening - timedelta(days=3), 118 + chart.rng.randrange(22), 70 + chart.rng.randrange(18))
    chart.measured("height", screening - timedelta(days=50), str(158 + chart.rng.randrange(22)))


def work_up(
    chart: Chart,
    screening: date,
    labs: Mapping[str, Lab | None],
    answers: Answers,
    without: frozenset[str] = frozenset(),
) -> None:
    """All records of one screening: the base patient with the differences planned.

    ``without`` leaves out ``consent``, ``biopsy``, ``diagnosis``, ``allergy``; the signed consent is dated
    the screening day at 09:00.
    """
    stated = base_answers(screening, chart.sex == "female") | dict(answers)
    visits(chart, screening)
    if "diagnosis" not in without:
        diagnosis(chart, screening)
    if "biopsy" not in without:
        biopsied = stated["biopsy-date"] or screening - timedelta(days=49)
        biopsy(chart, screening, date.fromisoformat(str(biopsied)), str(stated["biopsy-stage"] or "II"))
    laboratory(chart, screening, labs)
    background_therapy(chart, screening)
    if "allergy" not in without:
        no_known_allergy(chart, screening - timedelta(days=50))
    if "consent" not in without:
        consent(chart, screening)
    attest(chart, screening, stated)
