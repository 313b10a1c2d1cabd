"""Turns a planned 48-week course into the records a hospital would hold."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from adapter.demo.courses import COMBO, VISITS, Course, prednisone_of, protein_of
from adapter.demo.fhir_json import RECORD_NUMBER, Chart, at, concept, quantity, ref
from adapter.demo.pharmacy import dispense, given, order
from adapter.demo.plan import Lab
from adapter.demo.workup import STUDY, consent, result, work_up

TROUGH_DAYS = (7, 14, 28, 56, 84, 112, 168, 252, 336)
SUPPLY_DAYS = 28
EXIT_STATUS = "off-study"


def follow(chart: Chart, course: Course, randomised: date) -> None:
    """Screening on the day before randomisation, then everything until ``course.until``."""
    screening = randomised - timedelta(days=1)
    baseline = {
        "urine_protein_24h": Lab(protein_of(course)[0][1]),
        "albumin": Lab(course.response.albumin[0]),
        "pla2r_antibody": Lab(course.response.pla2r[0]),
        "creatinine": Lab(course.creatinine.get(0, "80")),
        "weight": Lab(str(course.weight), day=2),
    }
    answers: dict[str, object] = {}
    if course.exit == "X11":
        answers["child-bearing-potential"] = True
        result(chart, "hcg", Lab("1.0", day=3), screening)
    work_up(chart, screening, baseline, answers)
    _subject(chart, course, randomised)
    _visits(chart, course, randomised)
    _troughs(chart, course, randomised)
    _medicate(chart, "tacrolimus", randomised, course.doses, course.until, 2)
    _medicate(chart, "prednisone", randomised, prednisone_of(course), course.until, 1)
    _events(chart, course, randomised)


def _subject(chart: Chart, course: Course, randomised: date) -> None:
    day = randomised + timedelta(days=course.until)
    agreed = next(row for row in chart.rows if row["resourceType"] == "Consent")
    if course.exit == "X2":
        consent(chart, day, "inactive")
    chart.add(
        "ResearchSubject",
        at(day if course.exit else randomised, 16),
        identifier=[{"system": RECORD_NUMBER, "value": f"CANARY-SUBJ-{chart.id}"}],
        status=EXIT_STATUS if course.exit else "on-study-intervention",
        period={"start": randomised.isoformat()} | ({"end": day.isoformat()} if course.exit else {}),
        study=STUDY,
        individual=chart.me,
        assignedArm=course.arm,
        actualArm=course.arm,
        consent=ref(agreed),
    )


def _visits(chart: Chart, course: Course, randomised: date) -> None:
    protein = dict(protein_of(course))
    albumin = dict(zip(VISITS, course.response.albumin[1:], strict=False))
    pla2r = {168: course.response.pla2r[1], 336: course.response.pla2r[2]}
    extra = {*course.creatinine, *course.alt, *course.glucose} - {0}
    for offset in sorted({*VISITS, *extra}):
        if offset > course.until:
            break
        day = randomised + timedelta(days=offset)
        chart.encounter(day, day)
        liver = [
            chart.measured("alt", day, course.alt.get(offset, str(16 + chart.rng.randrange(16)))),
            chart.measured("ast", day, str(15 + chart.rng.randrange(15))),
            chart.measured("bilirubin_total", day, f"{6 + chart.rng.randrange(8)}.{chart.rng.randrange(10)}"),
        ]
        chart.panel(day, "肝功能", liver)
        _kidney(chart, course, day, offset)
        if offset in protein:
            result(chart, "urine_protein_24h", _reading(protein[offset]), day + timedelta(days=6))
        if offset in albumin:
            chart.measured("albumin", day, albumin[offset])
        if pla2r.get(offset):
            chart.measured("pla2r_antibody", day, pla2r[offset])
        if offset in VISITS:
            chart.measured("weight", day, str(course.weight + chart.rng.choice((-1, 0, 0, 1))))
            chart.pressure(day, 112 + chart.rng.randrange(26), 68 + chart.rng.randrange(18))


def _reading(value: str) -> Lab:
    return Lab(value, "g/24h", form="string") if value.startswith("<") else Lab(value)


def _kidney(chart: Chart, course: Course, day: date, offset: int) -> None:
    umol = course.creatinine.get(offset, str(76 + chart.rng.randrange(9)))
    parts = [
        chart.measured("creatinine", day, umol),
        chart.measured("egfr", day, str(ckd_epi_2009(umol, chart.sex, chart.birth, day))),
        chart.measured(
            "glucose",
            day,
            course.glucose.get(offset, f"{4 + chart.rng.randrange(2)}.{chart.rng.randrange(9)}"),
        ),
    ]
    chart.panel(day, "肾功能", parts)


def ckd_epi_2009(umol: str, sex: str, birth: str, day: date) -> int:
    """What this laboratory prints, in whole mL/min/1.73 m2 (Levey 2009, Ann Intern Med 150:604)."""
    born = date.fromisoformat(birth)
    age = day.year - born.year - ((day.month, day.day) < (born.month, born.day))
    kappa, alpha, factor = (0.7, -0.329, 1.018) if sex == "female" else (0.9, -0.411, 1.0)
    ratio = float(Decimal(umol) / Decimal("88.4")) / kappa
    return int(141 * min(ratio, 1) ** alpha * max(ratio, 1) ** -1.209 * 0.993**age * factor + 0.5)


def _troughs(chart: Chart, course: Course, randomised: date) -> None:
    """Troughs at 07:45; in the first four weeks the evening dose at 20:00 is on record (11.75 h)."""
    for offset in sorted({*TROUGH_DAYS, *course.troughs}):
        if offset > course.until or _dose_on(course, offset) == "0":
            continue
        day = randomised + timedelta(days=offset)
        evening = day - timedelta(days=1)
        if offset <= 28 or offset in course.troughs:
            per_intake = str(Decimal(_dose_on(course, offset - 1)) / 2)
            given(chart, "tacrolimus", at(evening, 20), per_intake, form="external")
        value = course.troughs.get(offset, f"{5 + chart.rng.randrange(3)}.{chart.rng.randrange(10)}")
        chart.measured("tacrolimus_trough", day, value, when=at(day, 7, 45))
    if course.name == "mono-complete":
        peak_day = randomised + timedelta(days=10)
        given(chart, "tacrolimus", at(peak_day, 8), "2")
        chart.measured("tacrolimus_level", peak_day, "18.2", when=at(peak_day, 10, 30))


def _dose_on(course: Course, offset: int) -> str:
    return next(dose for day, dose in reversed(course.doses) if day <= max(offset, 0))


def _medicate(
    chart: Chart,
    key: str,
    randomised: date,
    steps: tuple[tuple[int, str], ...] | list[tuple[int, str]],
    until: int,
    times: int,
) -> None:
    """One order for each dose step, and dispenses that cover it without a gap."""
    ends = [*(day for day, _ in steps[1:]), until][: len(steps)]
    for (first, dose), end in zip(steps, ends, strict=True):
        per_intake = str(Decimal(dose) / times)
        if dose == "0" or end <= first:
            continue
        form = "external" if key == "tacrolimus" else "code"
        order(chart, key, randomised + timedelta(days=first), end - first, per_intake, times, form=form)
        for at_day in range(first, end, SUPPLY_DAYS):
            supply = min(SUPPLY_DAYS, end - at_day)
            dispense(chart, key, randomised + timedelta(days=at_day), supply, per_intake, times, form=form)


def _events(chart: Chart, course: Course, randomised: date) -> None:
    for offset, text, serious in course.events:
        _adverse_event(chart, randomised + timedelta(days=offset), text, "actual", serious)
    if course.arm == COMBO and course.events:
        # a near miss is not an adverse event of the outcome: actuality potential
        _adverse_event(chart, randomised + timedelta(days=20), "给药差错(未发生)", "potential", False)
    if course.alt:
        start = min(course.alt)
        order(chart, "glycyrrhizin", randomised + timedelta(days=start), 28, "75", 3)
        for (first, dose), (end, _) in pairwise(course.doses):
            if dose == "0":  # held because of the liver: an order on hold, not a gap in adherence
                order(
                    chart,
                    "tacrolimus",
                    randomised + timedelta(days=first),
                    end - first,
                    "2",
                    2,
                    status="on-hold",
                )
    if course.exit == "X11":
        day = randomised + timedelta(days=course.until)
        value = {"valueQuantity": quantity("1830", "mIU/mL", "m[IU]/mL")}
        chart.observation("hcg", day, value)
        chart.condition(day.isoformat(), "早孕", ("http://hl7.org/fhir/sid/icd-10", "Z33.x00", "妊娠状态"))


def _adverse_event(chart: Chart, day: date, text: str, actuality: str, serious: bool) -> None:
    system = "http://terminology.hl7.org/CodeSystem/adverse-event-seriousness"
    chart.add(
        "AdverseEvent",
        at(day, 16),
        actuality=actuality,
        event=concept(text),
        subject=chart.me,
        date=at(day, 9),
        recordedDate=at(day + timedelta(days=1), 9),
        seriousness={"coding": [{"system": system, "code": "serious" if serious else "non-serious"}]},
        study=[STUDY],
    )
