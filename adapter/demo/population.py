"""The other patients of the hospital: ordinary diseases, ordinary results."""

from __future__ import annotations

from datetime import date, timedelta
from random import Random
from typing import NamedTuple

from adapter.demo.catalogue import CATALOGUE
from adapter.demo.fhir_json import ICD10, Chart, Resource, at
from adapter.demo.pharmacy import dispense, order, taken
from adapter.demo.workup import no_known_allergy

FIRST_DAY, LAST_DAY = date(2017, 1, 3), date(2019, 5, 31)


class Disease(NamedTuple):
    code: str
    text: str
    share: int
    drugs: tuple[str, ...]
    renal: bool = False


DISEASES = (
    Disease("N02.801", "IgA肾病", 12, ("valsartan", "prednisone"), True),
    Disease("E11.900", "2型糖尿病", 18, ("metformin", "atorvastatin")),
    Disease("E11.201+N08.3*", "2型糖尿病性肾病", 8, ("metformin", "valsartan"), True),
    Disease("I10.x00", "高血压病", 20, ("amlodipine", "valsartan")),
    Disease("M32.900", "系统性红斑狼疮", 5, ("prednisone", "hydroxychloroquine", "mycophenolate"), True),
    Disease("N18.900", "慢性肾脏病3期", 9, ("valsartan", "furosemide"), True),
    Disease("N04.000", "微小病变性肾病", 4, ("prednisone", "tacrolimus", "wuzhi"), True),
    Disease("N04.100", "局灶节段性肾小球硬化", 3, ("prednisone", "ciclosporin"), True),
    Disease("N04.500", "膜增生性肾小球肾炎", 2, ("valsartan",), True),
    Disease("N04.900", "肾病综合征", 3, ("prednisone", "furosemide"), True),
    Disease("K29.500", "慢性胃炎", 8, ("omeprazole",)),
    Disease("I25.100", "冠状动脉粥样硬化性心脏病", 8, ("atorvastatin", "amlodipine")),
    Disease("B18.101", "慢性乙型病毒性肝炎", 4, ("glycyrrhizin",)),
    Disease("M10.900", "痛风", 5, ()),
)
ORDINARY = {
    "leukocytes": (38, 120, 10),
    "haemoglobin": (98, 165, 1),
    "platelets": (110, 340, 1),
    "potassium": (34, 54, 10),
    "sodium": (136, 146, 1),
    "urea": (30, 90, 10),
    "urate": (210, 480, 1),
    "alt": (9, 58, 1),
    "ast": (12, 52, 1),
    "albumin": (36, 50, 1),
    "bilirubin_total": (40, 220, 10),
    "creatinine": (48, 110, 1),
    "glucose": (42, 90, 10),
    "cholesterol": (31, 68, 10),
    "triglyceride": (5, 38, 10),
}
PANELS = (
    ("血常规", ("leukocytes", "haemoglobin", "platelets")),
    ("生化全套", ("alt", "ast", "albumin", "bilirubin_total", "creatinine", "urea", "glucose")),
    ("电解质", ("potassium", "sodium", "urate")),
    ("血脂", ("cholesterol", "triglyceride")),
)


def background(number: int, seed: int) -> Chart:
    """One patient without membranous nephropathy; about fifty records."""
    rng = Random(f"{seed}/background/{number}")  # noqa: S311  # reproducible data, not a secret
    birth = date(1930, 1, 1) + timedelta(days=rng.randrange(29_500))
    chart = Chart(number, seed, rng.choice(("male", "female")), birth.isoformat())
    chart.patient()
    disease = rng.choices(DISEASES, [each.share for each in DISEASES])[0]
    first = FIRST_DAY + timedelta(days=rng.randrange(400))
    chart.condition(first.isoformat(), disease.text, (ICD10, disease.code, disease.text))
    if rng.random() < 0.4:
        other = rng.choice(DISEASES)
        chart.condition(f"{first:%Y-%m}", other.text, (ICD10, other.code, other.text), verification="")
    if rng.random() < 0.3:
        no_known_allergy(chart, first)
    if rng.random() < 0.2:
        taken(chart, rng.choice(("amlodipine", "atorvastatin", "omeprazole")), first, f"{first:%Y}")
    for _ in range(2 + rng.randrange(3)):
        day = first + timedelta(days=rng.randrange((LAST_DAY - first).days))
        _visit(chart, rng, disease, day)
    return chart


def _visit(chart: Chart, rng: Random, disease: Disease, day: date) -> None:
    stay = rng.randrange(3, 9) if rng.random() < 0.15 else 0
    chart.encounter(day, min(day + timedelta(days=stay), LAST_DAY), "IMP" if stay else "AMB")
    chart.pressure(day, 104 + rng.randrange(60), 60 + rng.randrange(38))
    chart.measured("weight", day, f"{44 + rng.randrange(46)}.{rng.randrange(10)}")
    for name, keys in rng.sample(PANELS, 2 + rng.randrange(2)):
        chart.panel(day, name, [_ordinary(chart, rng, key, day) for key in keys])
    if disease.renal:
        _urine(chart, rng, day)
    for key in disease.drugs[: 1 + rng.randrange(3)]:
        form = rng.choice(("code", "code", "external", "contained"))
        times = 1 + rng.randrange(2)
        order(chart, key, day, 28, str(5 * (1 + rng.randrange(4))), times, form=form)
        if rng.random() < 0.8:
            dispense(chart, key, day, 28, str(5 * (1 + rng.randrange(4))), times, form=form)


def _ordinary(chart: Chart, rng: Random, key: str, day: date) -> Resource:
    low, high, per = ORDINARY[key]
    drawn = rng.randrange(low, high + 1)
    value = str(drawn) if per == 1 else f"{drawn // per}.{drawn % per}"
    style = "local" if rng.random() < 0.25 else "loinc"
    return chart.measured(key, day, value, style=style)


def _urine(chart: Chart, rng: Random, day: date) -> None:
    if rng.random() < 0.5:
        chart.measured(
            "urine_protein_24h", day, f"{rng.randrange(4)}.{rng.randrange(10)}{rng.randrange(1, 10)}"
        )
    chart.observation(
        "urine_protein_dipstick", day, {"valueString": rng.choice(("阴性", "±", "1+", "2+", "+++"))}
    )
    if rng.random() < 0.06:
        item = CATALOGUE["pla2r_antibody"]
        chart.observation("pla2r_antibody", day, {"valueString": f"<2 {item.unit}"}, issued=at(day, 20))
