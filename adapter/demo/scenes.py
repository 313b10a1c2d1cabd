"""Single scenes that the screening stories add to a chart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date, timedelta

from adapter.demo.fhir_json import ICD10, RECORD_NUMBER, SNOMED, Chart, at, concept, ref
from adapter.demo.pharmacy import dispense, given, order, taken
from adapter.demo.plan import SCREENING_DAY
from adapter.demo.workup import allergy

LAB_DAY = SCREENING_DAY - timedelta(days=6)
Scene = Callable[[Chart], object]


def measured_on(key: str, day: str, value: str) -> Scene:
    return lambda chart: chart.measured(key, date.fromisoformat(day), value)


def pooled_urine(chart: Chart) -> None:
    """Concentration and volume of one 24 h specimen: 412.5 x 1940 / 100000 = 8.0025 g/d."""
    bag = chart.specimen(LAB_DAY, "24小时尿", "276833005")
    parts = [
        chart.measured("urine_protein_concentration_24h", LAB_DAY, "412.5", specimen=ref(bag)),
        chart.measured("urine_volume_24h", LAB_DAY, "1940", specimen=ref(bag)),
    ]
    chart.panel(LAB_DAY, "24小时尿蛋白", parts, specimen=[ref(bag)])


def unmapped_protein(chart: Chart) -> None:
    chart.measured("unmapped_24h_protein", LAB_DAY, "9.2", style="local")


def conclusion_only(chart: Chart) -> None:
    chart.panel(LAB_DAY, "尿液检验报告", [], conclusion="24小时尿蛋白定量 9.1g/24h,尿量 1800ml。")


def corrected_protein(chart: Chart) -> None:
    """9.0 final; the same identifier re-sent as 6.8 corrected under a new id; a contained copy of 9.0."""
    wrong = chart.measured("urine_protein_24h", LAB_DAY, "9.0")
    held = copy.deepcopy(wrong) | {"id": "result1"}
    del held["meta"]
    chart.panel(LAB_DAY, "24小时尿蛋白", [], contained=[held], result=[{"reference": "#result1"}])
    right = chart.measured(
        "urine_protein_24h", LAB_DAY, "6.8", status="corrected", when=wrong["effectiveDateTime"], late=True
    )
    right["identifier"] = wrong["identifier"]
    right["meta"]["lastUpdated"] = at(LAB_DAY + timedelta(days=2), 9)


def early_proteinuria(chart: Chart) -> None:
    chart.measured("urine_protein_24h", date(2018, 12, 1), "7.0")


def ascites_albumin(chart: Chart) -> None:
    day = date(2019, 5, 30)
    fluid = chart.specimen(day, "腹水", "168139001")
    chart.measured("ascites_albumin", day, "12", specimen=ref(fluid))


def embolism(chart: Chart) -> None:
    chart.condition("2019-04-20", "肺栓塞", (ICD10, "I26.900", "肺栓塞"))


def embolism_suspected(chart: Chart) -> None:
    chart.condition("2019-05-25", "肺栓塞?", (ICD10, "I26.900", "肺栓塞"), verification="provisional")


def ulcer_seen(chart: Chart) -> None:
    chart.condition("2019-04-10", "胃溃疡", (ICD10, "K25.900", "胃溃疡"))


def stomach_cancer(chart: Chart) -> None:
    chart.condition("2018-03-11", "胃恶性肿瘤", (ICD10, "C16.900", "胃恶性肿瘤"))


def pregnancy(chart: Chart) -> None:
    chart.condition("2019-05-01", "妊娠状态", (ICD10, "Z33.x00", "妊娠状态"))


def ointment(chart: Chart) -> None:
    order(chart, "tacrolimus_ointment", date(2019, 5, 20), 14, "1", 2, unit="支")
    dispense(chart, "tacrolimus_ointment", date(2019, 5, 20), 14, "1", 2, unit="支")


def eye_drops(chart: Chart) -> None:
    dispense(chart, "ciclosporin_drops", date(2019, 5, 6), 30, "1", 2, unit="滴", form="external")


def dispensed_prednisone(first: str, days: int) -> Scene:
    """Prednisone 30 mg dispensed for ``days`` days; 0 days: a statement that ends in the month given."""
    if not days:
        return lambda chart: taken(chart, "prednisone", SCREENING_DAY, "2018-12", first)

    def scene(chart: Chart) -> None:
        day = date.fromisoformat(first)
        order(chart, "prednisone", day, days, "30", form="contained")
        dispense(chart, "prednisone", day, days, "30", form="external")

    return scene


def dexamethasone_once(chart: Chart) -> None:
    given(chart, "dexamethasone", at(date(2019, 4, 24), 9, 40), "5")


def tripterygium_ordered(chart: Chart) -> None:
    order(chart, "tripterygium", date(2019, 5, 1), 14, "20", 3, status="active")


def macrolide_allergy(chart: Chart) -> None:
    code = concept("红霉素过敏", (SNOMED, "428787002", "Macrolide"))
    allergy(chart, date(2017, 8, 8), code, type="allergy", category=["medication"])


def tacrolimus_allergy(chart: Chart) -> None:
    code = concept("他克莫司", (SNOMED, "386975001", "Tacrolimus"))
    allergy(chart, date(2019, 1, 8), code, type="allergy", category=["medication"])


def other_trial(chart: Chart) -> None:
    chart.add(
        "ResearchSubject",
        "2019-04-30",
        identifier=[{"system": RECORD_NUMBER, "value": f"CANARY-SUBJ-{chart.id}"}],
        status="off-study",
        period={"start": "2018-11-02", "end": "2019-04-30"},
        study={"reference": "ResearchStudy/study-other-drug"},
        individual=chart.me,
    )


def another_trial_now(chart: Chart) -> None:
    """On it on the day of screening: the worklist marks whom another trial has."""
    chart.add(
        "ResearchSubject",
        "2019-05-13",
        identifier=[{"system": RECORD_NUMBER, "value": f"CANARY-SUBJ-2-{chart.id}"}],
        status="on-study",
        period={"start": "2019-05-13"},
        study={"reference": "ResearchStudy/study-other-drug"},
        individual=chart.me,
    )


def held_for_eligible(chart: Chart) -> None:
    """The hospital was told so once, before the result that says otherwise."""
    chart.add(
        "ResearchSubject",
        "2019-05-06",
        identifier=[{"system": RECORD_NUMBER, "value": f"CANARY-SUBJ-{chart.id}"}],
        status="eligible",
        period={"start": "2019-05-06"},
        study={"reference": "ResearchStudy/study-nct03864250"},
        individual=chart.me,
    )


def merged_with(birth: str) -> Scene:
    """The person was registered twice; what the chart holds so far is split over both records."""

    def scene(chart: Chart) -> None:
        merge(chart, birth)

    return scene


def merge(chart: Chart, birth: str) -> str:
    """Move every third record to a replaced Patient and link both; returns the replaced id."""
    old = f"{chart.id}m"
    for row in [row for row in chart.rows if row["resourceType"] != "Patient"][::3]:
        element = "patient" if "patient" in row else "subject"
        if row.get(element) == chart.me:
            row[element] = {"reference": f"Patient/{old}"}
    survivor = next(row for row in chart.rows if row["id"] == chart.id)
    survivor.setdefault("link", []).append({"other": {"reference": f"Patient/{old}"}, "type": "replaces"})
    made = chart.add("Patient", "2019-04-28")
    made |= {
        "id": old,
        "active": False,
        "identifier": [{"system": RECORD_NUMBER, "value": f"CANARY-MRN-{old}"}],
        "name": [{"text": f"CANARY-NAME-{old}", "family": f"CANARY-NAME-{old}"}],
        "gender": chart.sex,
        "birthDate": birth,
        "link": [{"other": chart.me, "type": "replaced-by"}],
    }
    return old
