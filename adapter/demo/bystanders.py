"""Patients with membranous nephropathy who are no candidates for a plain reason."""

from __future__ import annotations

from datetime import date

from adapter.demo.fhir_json import ICD10, SNOMED, Chart, at
from adapter.demo.pharmacy import dispense, given, order, taken
from adapter.demo.plan import SCREENING_DAY, Story, lab
from adapter.demo.scenes import Scene

POSITIVE = lab("阳性", form="answer")
REMISSION = {
    "urine_protein_24h": lab("0.2"),
    "albumin": lab("44"),
    "pla2r_antibody": lab("2", comparator="<"),
}


def diagnosed(day: str, text: str, code: str, system: str = ICD10) -> Scene:
    return lambda chart: chart.condition(day, text, (system, code, text))


def on_prednisone_and_mycophenolate(chart: Chart) -> None:
    for key, dose, times in (("prednisone", "20", 1), ("mycophenolate", "750", 2)):
        order(chart, key, date(2019, 5, 6), 28, dose, times, status="active", form="external")
        dispense(chart, key, date(2019, 5, 6), 28, dose, times)


def on_tacrolimus(chart: Chart) -> None:
    dispense(chart, "tacrolimus", date(2019, 5, 20), 28, "1.5", 2)


def on_ciclosporin(chart: Chart) -> None:
    taken(chart, "ciclosporin", SCREENING_DAY, "2018-11-05")


def infused(key: str, day: date, amount: str) -> Scene:
    return lambda chart: given(chart, key, at(day, 10, 15), amount, form="contained")


TREATED = {"E5": "T"}
BYSTANDERS = (
    Story(
        "lupus-class-v",
        "M32.102+N08.5*: secondary, treated",
        "ineligible",
        {"I2": "N", **TREATED},
        bare=True,
        sex="female",
        also=(
            diagnosed("2017-06-01", "狼疮性肾炎V型,膜性肾病", "M32.102+N08.5*"),
            on_prednisone_and_mycophenolate,
        ),
        dirt={"icd_extension": "dagger and asterisk codes are read apart"},
    ),
    Story(
        "lupus-tubular",
        "M32.102+N16.4* beside membranous nephropathy, treated",
        "ineligible",
        TREATED,
        bare=True,
        sex="female",
        also=(
            diagnosed("2018-02-01", "系统性红斑狼疮 肾小管间质病变", "M32.102+N16.4*"),
            on_prednisone_and_mycophenolate,
        ),
        dirt={"icd_extension": "dagger and asterisk codes are read apart"},
    ),
    Story(
        "hepatitis-b",
        "B18.101 and HBsAg positive",
        "ineligible",
        {"E2": "T", "E2.hbv": "T"},
        bare=True,
        labs={"hbsag": POSITIVE, "hbcab": POSITIVE, "hbsab": None},
        also=(diagnosed("2010", "慢性乙型病毒性肝炎", "B18.101"),),
        dirt={"partial_onset": "onset in 2010 is known to the year"},
    ),
    Story(
        "lung-cancer",
        "C34.900 active; membranous nephropathy due to malignancy (722086002)",
        "ineligible",
        {"I2": "N", "E4": "T"},
        bare=True,
        also=(
            diagnosed("2019-02-11", "肺恶性肿瘤", "C34.900"),
            diagnosed("2019-03-20", "肿瘤相关性膜性肾病", "722086002", SNOMED),
        ),
    ),
    Story("child-of-11", "born 2008-02-17", "ineligible", {"I1": "N"}, bare=True, birth="2008-02-17"),
    Story(
        "on-ciclosporin",
        "ciclosporin since 2018-11-05, still taken",
        "ineligible",
        TREATED,
        bare=True,
        also=(on_ciclosporin,),
    ),
    Story(
        "rituximab-in-april",
        "rituximab (old ATC L01XC02) on 2019-04-16",
        "ineligible",
        TREATED,
        bare=True,
        also=(infused("rituximab", date(2019, 4, 16), "600"),),
        dirt={
            "medication_contained": "the drug is named in a contained Medication",
            "old_atc": "L01XC02 is rituximab as L01FA01 is",
        },
    ),
    Story(
        "in-remission",
        "0.2 g/24h, albumin 44, PLA2R <2 since spring: nothing to treat",
        "ineligible",
        {"I3": "N", "I3a": "N", "I4": "N"},
        labs=REMISSION,
        answers={"onset-date": "2018-01-10"},
    ),
)
