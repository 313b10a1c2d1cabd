"""The vocabulary of the plan: what is planted in one person, and what must come of it.

Expected verdicts are written down here and in the story tables by reading the protocol, never by
running a rule. ``M``/``N``/``?`` are met, not met and unknown for an inclusion, ``T``/``F``/``?``
present, absent and unknown for an exclusion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from adapter.demo.fhir_json import Chart

SCREENING_DAY = date(2019, 6, 3)
PROTOCOL = "NCT03864250"

IETESTCD = (
    {f"I{n}": f"INCL{n:02}" for n in range(1, 6)}
    | {f"I3{part}": f"INCL03{part.upper()}" for part in "abcde"}
    | {f"E{n}": f"EXCL{n:02}" for n in range(1, 12)}
    | {
        "E2.hbv": "EXCL02HB",
        "E2.hcv": "EXCL02HC",
        "E2.tb": "EXCL02TB",
        "E2.cmv": "EXCL02CM",
        "E2.fungal": "EXCL02FU",
        "E2.syphilis": "EXCL02SY",
        "E2.hiv": "EXCL02HI",
        "I3|I4": "INCL034",
    }
)
VERDICT = {"M": "met", "T": "met", "N": "not_met", "F": "not_met", "?": "unknown"}


@dataclass(frozen=True)
class Lab:
    """One planted result; a planned work-up has at most one per catalogue key.

    ``day`` is days before the screening day, or an ISO date or date-time. ``form`` chooses the value[x]:
    a ``quantity``, a ``string`` (value and unit in one text) or an ``answer`` word. ``unit``/``high``
    of None keep the catalogue's; "" leaves them out.
    """

    value: str
    unit: str | None = None
    day: int | str = 6
    form: str = "quantity"
    comparator: str = ""
    high: str | None = None
    style: str = "loinc"
    status: str = "final"
    lab: str = "检验科"
    range_text: str = ""


Answers = Mapping[str, object]


@dataclass(frozen=True)
class Story:
    """One screening case: the difference from the base patient, and what is to be found."""

    name: str
    planted: str
    overall: str
    expect: Mapping[str, str | None] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    low_protein: bool = False  # base patient P6: 6.0 g/24h, so that I3 hangs on the planted item
    sex: str = "male"
    birth: str = ""
    labs: Mapping[str, Lab | None] = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)
    also: tuple[Callable[[Chart], object], ...] = ()
    without: frozenset[str] = frozenset()  # consent, biopsy, diagnosis, allergy: not recorded at all
    dirt: Mapping[str, str] = field(default_factory=dict)  # dirt type -> consequence
    marks: tuple[str, ...] = ()  # of the worklist: what enrolments on record say of a candidate
    bare: bool = False  # no biopsy, consent, allergy or attestation; only ``expect`` is determined
    quiet: bool = False  # no further dirt: the story is about an exact set of records

    def verdicts(self) -> dict[str, str]:
        """Planned verdicts by IETESTCD."""
        base = {} if self.bare else LOW_PROTEIN_EXPECT if self.low_protein else BASE_EXPECT
        return resolved(self.expect, base)


def lab(value: str, unit: str | None = None, **more: object) -> Lab:
    return Lab(value, unit, **more)  # type: ignore[arg-type]


BASE_EXPECT: dict[str, str] = {
    "I1": "M",
    "I2": "M",
    "I3": "M",
    "I3a": "M",
    "I3b": "N",
    "I3c": "N",
    "I3d": "N",
    "I3e": "N",
    "I4": "N",
    "I5": "M",
    **{f"E{n}": "F" for n in range(1, 12)},
    **{f"E2.{part}": "F" for part in ("hbv", "hcv", "tb", "cmv", "fungal", "syphilis", "hiv")},
}
LOW_PROTEIN_EXPECT = BASE_EXPECT | {"I3": "N", "I3a": "N"}

LOW_PROTEIN: dict[str, Lab | None] = {"urine_protein_24h": Lab("6.0")}

BASE_LABS: dict[str, Lab] = {
    "urine_protein_24h": Lab("9.0"),
    "albumin": Lab("26"),
    "pla2r_antibody": Lab("40"),
    "creatinine": Lab("80"),
    "alt": Lab("25"),
    "ast": Lab("22"),
    "bilirubin_total": Lab("9"),
    "glucose": Lab("5.1"),
    "hbsag": Lab("阴性", form="answer"),
    "hbsab": Lab("阳性", form="answer"),
    "hbeag": Lab("阴性", form="answer"),
    "hbcab": Lab("阴性", form="answer"),
    "hcv_antibody": Lab("阴性", form="answer"),
    "hiv_screen": Lab("阴性", form="answer"),
    "syphilis_nontreponemal": Lab("阴性", form="answer"),
    "syphilis_treponemal": Lab("阴性", form="answer"),
    "igra": Lab("阴性", form="answer"),
    "cmv_dna": Lab("未检出", form="answer"),
    "weight": Lab("62", day=3),
    "interstitial_fibrosis_percent": Lab("10", day=49),
}


def base_answers(screening: date, female: bool) -> dict[str, object]:
    """The attestation of the base patient; E9 and tuberculosis are left to the records."""
    found: dict[str, object] = {
        "onset-date": screening - timedelta(days=94),
        "biopsy-done": True,
        "biopsy-date": screening - timedelta(days=49),
        "biopsy-histology": "membranous",
        "biopsy-stage": "II",
        "idiopathic": True,
        "secondary-excluded": True,
        "fibrosis-percent": "10",
        "serious-complication": False,
        "consent": "signed",
        "consent-date": f"{screening.isoformat()}T09:00:00+08:00",
        "fungal-infection": False,
        "ulcer": "none",
        "malignancy": "none",
        "medication-history-complete": True,
        "serious-comorbidity": False,
        "other-trial": False,
        "can-comply": True,
    }
    return found | ({"child-bearing-potential": False, "lactating": False} if female else {})


def resolved(expect: Mapping[str, str | None], base: Mapping[str, str]) -> dict[str, str]:
    """The verdicts of ``expect`` over ``base`` by IETESTCD; None says the plan does not determine it."""
    whole = {**base, **expect}
    stated = {key: verdict for key, verdict in whole.items() if verdict is not None}
    pair = {stated.get("I3"), stated.get("I4")}
    if "M" in pair:
        stated["I3|I4"] = "M"
    elif None not in pair:
        stated["I3|I4"] = "?" if "?" in pair else "N"
    return dict(sorted((IETESTCD[key], VERDICT[verdict]) for key, verdict in stated.items()))
