"""Enrolled patients: what was planned for each over 48 weeks, as tables.

Values stand on visit days 14, 28, 56, 84, 112, 168, 252 and 336 after randomisation (day 0). Responses
are worked out by hand from the registry's outcome measures: complete remission below 0.3 g/24h, partial
remission a decline of more than 50 % from the peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

MONO, COMBO = "Tacrolimus monotherapy", "Tacrolimus with prednisone"
VISITS = (14, 28, 56, 84, 112, 168, 252, 336)
FIRST_RANDOMISATION = date(2018, 2, 5)


@dataclass(frozen=True)
class Response:
    """A course of proteinuria: baseline then visits, and what the outcomes make of it."""

    protein: tuple[str, ...]
    month6: str | None
    week48: str | None
    pla2r: tuple[str, str, str] = ("150", "45", "8")  # baseline, day 168, day 336
    albumin: tuple[str, ...] = ("26", "27", "29", "32", "35", "37", "39", "41", "42")
    albumin_below_25: str = "N"  # criterion I3b at screening


COMPLETE = Response(("9.0", "8.2", "6.9", "4.8", "3.1", "1.9", "0.90", "0.41", "0.21"), "PR", "CR")
COMPLETE_EARLY = Response(("8.8", "7.0", "4.1", "2.0", "0.9", "0.45", "0.24", "0.22", "0.18"), "CR", "CR")
COMPLETE_BELOW = Response(("9.4", "8.0", "6.1", "4.0", "2.2", "1.1", "0.60", "0.28", "<0.15"), "PR", "CR")
PARTIAL = Response(
    ("10.2", "9.6", "8.8", "7.0", "5.6", "4.6", "3.9", "3.0", "2.2"),
    "PR",
    "PR",
    ("180", "90", "35"),
    ("24", "25", "26", "28", "30", "32", "33", "35", "36"),
    "M",
)
PARTIAL_AT_LIMIT = Response(
    ("9.2", "8.1", "7.0", "5.2", "4.0", "2.4", "1.1", "0.52", "0.30"), "PR", "PR", ("120", "60", "19.9")
)
HALF_OF_PEAK = Response(
    ("9.60", "9.1", "8.4", "7.2", "6.1", "5.0", "4.50", "4.60", "4.80"), "PR", "NONE", ("90", "70", "66")
)
RELAPSE = Response(
    ("8.6", "7.1", "5.0", "2.6", "1.1", "0.50", "0.25", "1.9", "6.3"),
    "CR",
    "NONE",
    ("160", "6", "88"),
    ("26", "28", "31", "35", "38", "40", "42", "36", "27"),
)
NO_RESPONSE = Response(
    ("9.4", "9.6", "9.1", "8.8", "8.5", "8.1", "7.6"),
    "NONE",
    None,
    ("320", "280", ""),
    ("22", "22", "23", "23", "24", "24", "25"),
    "M",
)
LATE_HALF = Response(("10.0", "9.8", "9.0", "8.1", "7.4", "6.2", "5.00"), "NONE", None, ("210", "140", ""))


@dataclass(frozen=True)
class Course:
    """One enrolled patient. Days count from randomisation; doses are mg per day.

    ``until`` is the last day in the study; ``exit`` the exit criterion that ended it. ``events`` are
    adverse events (day, text, serious).
    """

    name: str
    planted: str
    arm: str
    response: Response
    weight: int = 62
    sex: str = "male"
    birth: str = ""
    doses: tuple[tuple[int, str], ...] = ((0, "4"),)
    troughs: Mapping[int, str] = field(default_factory=dict)
    creatinine: Mapping[int, str] = field(default_factory=dict)
    alt: Mapping[int, str] = field(default_factory=dict)
    glucose: Mapping[int, str] = field(default_factory=dict)
    taper_day: int = 70
    events: tuple[tuple[int, str, bool], ...] = ()
    until: int = 336
    exit: str = ""
    flags: tuple[str, ...] = ()
    scale: str = "1"


COURSES = (
    Course("mono-complete", "complete remission at week 48", MONO, COMPLETE),
    Course(
        "combo-complete",
        "complete remission, prednisone 30 mg tapered from day 70",
        COMBO,
        COMPLETE,
        events=((21, "上呼吸道感染", False), (60, "库欣面容", False)),
        scale="1.06",
    ),
    Course(
        "combo-complete-below",
        "week 48 reported as <0.15",
        COMBO,
        COMPLETE_BELOW,
        weight=58,
        events=((33, "失眠", False),),
    ),
    Course(
        "mono-trough-high",
        "trough 10.8 on day 14, dose 4 to 3 mg on day 16",
        MONO,
        COMPLETE,
        doses=((0, "4"), (16, "3")),
        troughs={14: "10.8"},
        scale="0.96",
        flags=("A3 alert on day 14",),
    ),
    Course(
        "combo-trough-limit",
        "trough exactly 10.0 on day 28",
        COMBO,
        COMPLETE_EARLY,
        weight=66,
        troughs={28: "10.0"},
        flags=("A3 BOUNDARY on day 28",),
    ),
    Course(
        "mono-dose-up",
        "trough 3.9, dose 4 to 5 mg on day 30 (0.076 mg/kg)",
        MONO,
        COMPLETE,
        weight=66,
        doses=((0, "4"), (30, "5")),
        troughs={14: "4.2", 28: "3.9"},
        sex="female",
        birth="1960-02-11",
    ),
    Course(
        "combo-40-mg",
        "90 kg: prednisone 40 mg, tacrolimus 5 mg",
        COMBO,
        COMPLETE,
        weight=90,
        doses=((0, "5"),),
        events=((40, "血糖升高", False),),
        glucose={28: "7.6", 56: "7.9"},
    ),
    Course("mono-partial", "partial remission", MONO, PARTIAL),
    Course(
        "combo-partial",
        "partial remission",
        COMBO,
        PARTIAL,
        weight=71,
        scale="1.04",
        events=((90, "带状疱疹", False),),
    ),
    Course(
        "mono-partial-limit",
        "week 48 exactly 0.30 g/24h: partial, not complete",
        MONO,
        PARTIAL_AT_LIMIT,
        flags=("O1 BOUNDARY",),
    ),
    Course(
        "combo-early-taper",
        "taper begins on day 50: before week 8",
        COMBO,
        PARTIAL,
        weight=64,
        taper_day=50,
        flags=("P2 deviation",),
    ),
    Course(
        "mono-half",
        "week 48 exactly half of the peak: no remission",
        MONO,
        HALF_OF_PEAK,
        flags=("O2 BOUNDARY",),
    ),
    Course("combo-relapse", "complete remission at month 6, relapse at week 48", COMBO, RELAPSE, weight=60),
    Course("mono-no-response", "21 % decline at month 6: stopped", MONO, NO_RESPONSE, until=168, exit="X1"),
    Course(
        "combo-half-at-month-6",
        "exactly 50 % decline at month 6: no response, stopped",
        COMBO,
        LATE_HALF,
        until=168,
        exit="X1",
        flags=("X1 BOUNDARY",),
    ),
    Course(
        "mono-egfr-quarter",
        "eGFR falls 32.0, 31.2, 29.6 %: dose 4, 2, 1 mg, then continued",
        MONO,
        COMPLETE,
        birth="1966-12-20",
        doses=((0, "4"), (70, "2"), (84, "1")),
        creatinine={0: "80", 70: "110", 84: "109", 98: "107", 112: "101", 168: "99", 252: "98", 336: "97"},
        troughs={70: "9.4", 84: "6.0", 98: "3.1"},
        events=((70, "血肌酐升高", False),),
        flags=("X8 S1 on day 70", "X8 S2 on day 84", "X8 S2C on day 98"),
    ),
    Course(
        "combo-egfr-stop",
        "eGFR falls 33.4, 32.7, 31.2 %: tacrolimus stopped on day 98",
        COMBO,
        PARTIAL,
        birth="1966-12-20",
        doses=((0, "4"), (70, "2"), (84, "1")),
        creatinine={0: "80", 70: "112", 84: "111", 98: "109"},
        troughs={70: "9.8", 84: "5.5", 98: "2.9"},
        events=((70, "急性肾损伤", True),),
        until=98,
        exit="X8",
        flags=("X8 S3 on day 98",),
    ),
    Course(
        "mono-liver-hold",
        "ALT 85, 82 on protection, held on day 44, 55 on day 56, resumed on day 60",
        MONO,
        COMPLETE,
        doses=((0, "4"), (44, "0"), (60, "4")),
        alt={30: "85", 44: "82", 56: "55"},
        events=((30, "药物性肝损伤", False),),
        flags=("X9 L1 on day 30", "X9 L2 on day 44", "X9 L3 on day 56"),
    ),
    Course(
        "combo-liver-watch",
        "ALT 85 on day 30, 78 on day 44",
        COMBO,
        COMPLETE_EARLY,
        alt={30: "85", 44: "78"},
        events=((30, "转氨酶升高", False),),
        flags=("X9 L1 on day 30", "X9 WATCH on day 44"),
    ),
    Course(
        "mono-pregnancy",
        "hCG positive on day 120",
        MONO,
        COMPLETE,
        sex="female",
        birth="1989-06-15",
        weight=54,
        doses=((0, "3"),),
        until=120,
        exit="X11",
    ),
    Course(
        "combo-gap",
        "no tacrolimus from day 120 for 16 days",
        COMBO,
        PARTIAL,
        doses=((0, "4"), (120, "0"), (136, "4")),
        until=140,
        exit="X5",
        weight=68,
    ),
    Course(
        "mono-withdrawn",
        "withdrew consent on day 63",
        MONO,
        PARTIAL,
        until=63,
        exit="X2",
        weight=59,
        events=((50, "震颤", False),),
    ),
)


def randomised_on(place: int) -> date:
    return FIRST_RANDOMISATION + timedelta(days=6 * place)


def protein_of(course: Course) -> list[tuple[int, str]]:
    """Planned (day, g/24h) with the baseline on day -7; only while the patient is in the study."""
    days = (-7, *VISITS)
    scaled = [_scaled(value, course.scale) for value in course.response.protein]
    return [(day, value) for day, value in zip(days, scaled, strict=False) if day <= course.until]


def _scaled(value: str, scale: str) -> str:
    if scale == "1" or value.startswith("<"):
        return value
    return str((Decimal(value) * Decimal(scale)).quantize(Decimal("0.01")))


def prednisone_of(course: Course) -> list[tuple[int, str]]:
    """(day, mg/d): min(0.5 mg/kg, 40) to whole 5 mg tablets, less 5 mg every 28 days from the taper day."""
    if course.arm != COMBO:
        return []
    start = min(40, 5 * ((course.weight + 5) // 10))
    steps = [(0, str(start))]
    dose, day = start, course.taper_day
    while dose > 10 and day < course.until:
        dose -= 5
        steps.append((day, str(dose)))
        day += 28
    return steps


def truth_of(course: Course, randomised: date) -> dict[str, object]:
    """What monitoring and outcomes have to find for this course."""
    readings = [(day, value) for day, value in protein_of(course) if not value.startswith("<")]
    at_end = dict(protein_of(course)).get(336)
    before = [Decimal(value) for day, value in readings if day < (336 if at_end else course.until)]
    baseline, _, last = course.response.pla2r
    converted = Decimal(baseline) >= 20 and Decimal(last) < 20 if at_end and last else None
    return {
        "arm": course.arm,
        "randomised": randomised.isoformat(),
        "last_day": course.until,
        "month6_response": course.response.month6 if course.until >= 168 else None,
        "week48_response": course.response.week48 if course.until >= 336 else None,
        "week48_protein": at_end,
        "peak_protein_before": str(max(before)),
        "pla2r_conversion": converted,
        "tacrolimus_steps": [{"day": day, "mg_per_day": dose} for day, dose in course.doses],
        "prednisone_steps": [{"day": day, "mg_per_day": dose} for day, dose in prednisone_of(course)],
        "prednisone_taper_day": course.taper_day if course.arm == COMBO else None,
        "adverse_events": len(course.events),
        "exit": course.exit or None,
        "exit_day": course.until if course.exit else None,
        "flags": list(course.flags),
    }
