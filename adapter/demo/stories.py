"""Screening stories that end eligible.

Vignette numbers (V1..V28) are those of the worked examples from which the expected values are taken;
all are hand computations on the registry text of NCT03864250 (last update posted 2019-06-25).
"""

from __future__ import annotations

from adapter.demo.plan import Story, lab
from adapter.demo.scenes import (
    dispensed_prednisone,
    early_proteinuria,
    embolism,
    eye_drops,
    measured_on,
    ointment,
    pooled_urine,
)

LATE_BIOPSY = {"biopsy-date": "2018-07-02", "onset-date": "2018-06-25"}

ELIGIBLE = (
    Story("base", "every item present and clear: 9.0 g/24h", "eligible", flags={"I3d": ("TOO_EARLY",)}),
    Story(
        "protein-in-mg",
        "24 h protein 8010 with the invalid unit mg/24h is 8.01 g/d (V2b)",
        "eligible",
        labs={"urine_protein_24h": lab("8010", "mg/24h")},
        flags={"I3a": ("UNIT_REPAIRED",)},
        dirt={"unit_spelling": "mg/24h is read as mg per 24 h"},
    ),
    Story(
        "protein-from-volume",
        "412.5 mg/dL x 1940 mL of one 24 h specimen = 8.0025 g/d, no 24 h amount reported (V3a)",
        "eligible",
        labs={"urine_protein_24h": None},
        also=(pooled_urine,),
        quiet=True,
    ),
    Story(
        "albumin-in-g-per-dl",
        "albumin 2.49 g/dL is exactly 24.9 g/L and below 25 (V4)",
        "eligible",
        {"I3": "M", "I3b": "M"},
        low_protein=True,
        labs={"albumin": lab("2.49", "g/dL")},
        flags={"I3b": ("ALB_METHOD",)},
        dirt={"unit_spelling": "g/dL converts by 10"},
    ),
    Story(
        "pla2r-above-range",
        "PLA2R written as text '>1500 RU/ml' lies wholly above 100 (V7a)",
        "eligible",
        {"I3": "M", "I3c": "M"},
        low_protein=True,
        labs={"pla2r_antibody": lab(">1500", "RU/ml", form="string")},
        dirt={"comparator_in_string": "an interval above 1500 decides", "unit_spelling": "RU/ml"},
    ),
    Story(
        "egfr-decline",
        "biopsy 2018-07-02; creatinine 80 then 108 umol/L on day 322: decline 30.43 % (V15b)",
        "eligible",
        {"I3": "M", "I3d": "M", "I4": None},
        low_protein=True,
        birth="1966-06-20",
        answers=LATE_BIOPSY,
        labs={
            "creatinine": lab("108", day="2019-05-20"),
            "interstitial_fibrosis_percent": lab("10", day="2018-07-02"),
        },
        also=(measured_on("creatinine", "2018-07-02", "80"),),
    ),
    Story(
        "pulmonary-embolism",
        "confirmed active I26.900 since 2019-04-20, attested as serious complication",
        "eligible",
        {"I3": "M", "I3e": "M"},
        low_protein=True,
        answers={"serious-complication": True},
        also=(embolism,),
    ),
    Story(
        "six-months-nephrotic",
        "onset 2018-11-20, 7.0 then 3.5 g/24h (fall exactly 50 %), albumin 29.9 (V18a)",
        "eligible",
        {"I3": "N", "I3a": "N", "I4": "M"},
        answers={"onset-date": "2018-11-20"},
        labs={"urine_protein_24h": lab("3.5"), "albumin": lab("29.9")},
        also=(early_proteinuria,),
        flags={"I4": ("BOUNDARY",)},
        quiet=True,
    ),
    Story(
        "eighteenth-birthday",
        "18 on the screening day (V8a); protein '９．０↑ ｇ／２４ｈ' (V7f); ALT exactly 1.5 x 40 (V14a)",
        "eligible",
        birth="2001-06-03",
        labs={"urine_protein_24h": lab("９．０↑", "ｇ／２４ｈ", form="string"), "alt": lab("60")},
        flags={"E6": ("BOUNDARY",)},
        dirt={"full_width": "９．０ is 9.0"},
    ),
    Story(
        "only-topical-and-old",
        "tacrolimus ointment 2019-05-20, ciclosporin eye drops, prednisone until 2019-03-02 (93 d; V10d)",
        "eligible",
        also=(ointment, eye_drops, dispensed_prednisone("2019-02-17", 14)),
        dirt={"not_systemic": "ointment and eye drops are not exposure"},
    ),
    Story(
        "woman-tested",
        "woman of 34, hCG below 1.2 three days ago, lactation denied",
        "eligible",
        sex="female",
        birth="1984-09-09",
        answers={"child-bearing-potential": True, "lactating": False},
        labs={"hcg": lab("1.2", comparator="<", day=3)},
        dirt={"comparator_element": "<1.2 is wholly below the limit of 5"},
    ),
    Story(
        "midnight-utc",
        "albumin 24.5 collected 2019-05-05T16:30Z = 05-06 00:30 in Shanghai, the first day of the look-back",
        "eligible",
        {"I3": "M", "I3b": "M"},
        low_protein=True,
        labs={"albumin": lab("24.5", day="2019-05-05T16:30:00Z")},
        dirt={"utc_midnight": "the local date decides: inside the 28 days"},
    ),
)
