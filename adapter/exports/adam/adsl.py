"""ADSL: one row per subject of DM; how each population flag is found is said by its method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import msgspec

from adapter.exports.adam.readings import cell_day, interval
from adapter.exports.adam.spec import AdamSpec
from adapter.exports.adam.subject import Row, SdtmRow, Subject
from adapter.exports.adam.thresholds import Threshold
from adapter.exports.dataset import Cell, day_number
from adapter.model.decision import Verdict
from adapter.model.kleene import Truth

_COMPLETED = "COMPLETED"


class Whole(msgspec.Struct):
    """A subject with everything ADSL is made of: arms in order, the readings, PLA2R's threshold."""

    subject: Subject
    spec: AdamSpec
    arms: Sequence[str]
    readings: Sequence[Row]
    positive: Threshold | None = None


def planned_treatment(one: Whole) -> Cell:
    """DM.ARM, the planned arm; empty for somebody who was not assigned."""
    return one.subject.dm.get("ARM")


def planned_treatment_number(one: Whole) -> Cell:
    """The place of the planned arm among the arms of the protocol."""
    return _arm(one, "ARMCD")


def actual_treatment(one: Whole) -> Cell:
    """DM.ACTARM, the arm actually taken; empty for somebody never treated."""
    return one.subject.dm.get("ACTARM")


def actual_treatment_number(one: Whole) -> Cell:
    """The place of the actual arm among the arms of the protocol."""
    return _arm(one, "ACTARMCD")


def consent_date(one: Whole) -> Cell:
    """The day of DM.RFICDTC."""
    return _numbered(cell_day(one.subject.dm.get("RFICDTC")))


def randomisation_date(one: Whole) -> Cell:
    """The protocol's day of entry, as monitoring found it."""
    return _numbered(one.subject.zero)


def first_dose_date(one: Whole) -> Cell:
    """The day of DM.RFXSTDTC."""
    return _numbered(cell_day(one.subject.dm.get("RFXSTDTC")))


def last_dose_date(one: Whole) -> Cell:
    """The day of DM.RFXENDTC; empty while treatment runs."""
    return _numbered(cell_day(one.subject.dm.get("RFXENDTC")))


def randomised(one: Whole) -> Cell:
    """Y for everyone whose day of randomisation is known and has come."""
    return _yes(one.subject.zero is not None)


def intent_to_treat(one: Whole) -> Cell:
    """Y for everyone randomised, whatever was taken: the denominator with missing as not met."""
    return _yes(one.subject.zero is not None)


def safety(one: Whole) -> Cell:
    """Y for everyone randomised who took at least one dose of study treatment (DM.RFXSTDTC)."""
    return _yes(one.subject.zero is not None and bool(one.subject.dm.get("RFXSTDTC")))


def completer(one: Whole) -> Cell:
    """Y for everyone randomised whose response at the last planned visit is known."""
    return _yes(_evaluated(one))


def per_protocol(one: Whole) -> Cell:
    """Y for everyone treated and evaluated for the endpoint named in the specification, in whom none of the
    rules of the protocol that are named there as violations is met."""
    rule = one.spec.per_protocol
    if rule is None or one.subject.monitoring is None or safety(one) != "Y":
        return "N"
    followed = one.subject.monitoring
    met = {found.id for found in (*followed.exits, *followed.deviations) if found.verdict is Verdict.MET}
    return _yes(_evaluated(one, rule.evaluated) and not met & set(rule.violations))


def age_group(one: Whole) -> Cell:
    """The first group of the specification whose upper bound is above AGE."""
    return _group(one)[0]


def age_group_number(one: Whole) -> Cell:
    """The number of the age group."""
    return _group(one)[1]


def end_of_study_status(one: Whole) -> Cell:
    """Of everyone randomised: DISCONTINUED if DS says that participation ended otherwise than completed,
    COMPLETED if it says so or if the last visit was evaluated and its window is over, else ONGOING."""
    if one.subject.monitoring is None:
        return None
    ended = _ended(one)
    if ended is not None:
        return _COMPLETED if ended.get("DSDECOD") == _COMPLETED else "DISCONTINUED"
    windows, followed = one.subject.windows, one.subject.monitoring
    over = bool(windows) and windows[-1].last < followed.as_of
    return _COMPLETED if over and _evaluated(one) else "ONGOING"


def end_of_study_date(one: Whole) -> Cell:
    """The day of the DS record that says how participation ended."""
    ended = _ended(one) if one.subject.monitoring else None
    return _numbered(cell_day(ended.get("DSSTDTC"))) if ended else None


def discontinuation_reason(one: Whole) -> Cell:
    """DS.DSDECOD of the record that says how participation ended, if it was not completed."""
    ended = _ended(one) if one.subject.monitoring else None
    return ended.get("DSDECOD") if ended and ended.get("DSDECOD") != _COMPLETED else None


def death_date(one: Whole) -> Cell:
    """The day of DM.DTHDTC."""
    return _numbered(cell_day(one.subject.dm.get("DTHDTC")))


def baseline_protein(one: Whole) -> Cell:
    """AVAL of the baseline record of UPE24 in ADLB."""
    return _baseline(one, "UPE24")


def baseline_albumin(one: Whole) -> Cell:
    """AVAL of the baseline record of ALB in ADLB."""
    return _baseline(one, "ALB")


def baseline_creatinine(one: Whole) -> Cell:
    """AVAL of the baseline record of CREAT in ADLB."""
    return _baseline(one, "CREAT")


def baseline_egfr(one: Whole) -> Cell:
    """AVAL of the baseline record of EGFR in ADLB."""
    return _baseline(one, "EGFR")


def baseline_antibody(one: Whole) -> Cell:
    """AVAL of the baseline record of PLA2RAB in ADLB."""
    return _baseline(one, "PLA2RAB")


def antibody_group(one: Whole) -> Cell:
    """NEGATIVE if the baseline record of PLA2RAB surely passes the protocol's test of a negative antibody,
    POSITIVE if it surely does not."""
    row = _baseline_row(one, "PLA2RAB")
    value = interval(row) if row else None
    if value is None or one.positive is None:
        return None
    return {Truth.TRUE: "NEGATIVE", Truth.FALSE: "POSITIVE", Truth.UNKNOWN: None}[one.positive.holds(value)]


def _yes(value: bool) -> str:
    return "Y" if value else "N"


def _numbered(day: date | None) -> int | None:
    return None if day is None else day_number(day)


def _arm(one: Whole, name: str) -> int | None:
    code = one.subject.dm.get(name)
    return one.arms.index(str(code)) + 1 if code in one.arms else None


def _evaluated(one: Whole, endpoint: str = "") -> bool:
    followed = one.subject.monitoring
    if followed is None or not one.subject.windows:
        return False
    last = one.subject.windows[-1]
    if endpoint:
        found = next((result for result in followed.endpoints if result.id == endpoint), None)
        return found is not None and one.subject.told(found, last) is not Verdict.UNKNOWN
    until = one.subject.person.until
    seen = next((visit for visit in followed.visits if visit.visit == last.visit), None)
    return seen is not None and seen.response != "unknown" and (until is None or last.last <= until)


def _group(one: Whole) -> tuple[str | None, int | None]:
    age = one.subject.dm.get("AGE")
    for number, group in enumerate(one.spec.age_groups, start=1):
        if isinstance(age, int) and (group.below is None or age < group.below):
            return group.name, number
    return None, None


def _ended(one: Whole) -> SdtmRow | None:
    records = one.subject.records.get("DS", ())
    found = [row for row in records if row.get("DSCAT") == "DISPOSITION EVENT"]
    return max(found, key=lambda row: str(row.get("DSSTDTC") or ""), default=None)


def _baseline_row(one: Whole, code: str) -> Row | None:
    return next((row for row in one.readings if row.is_baseline and row.parameter.code == code), None)


def _baseline(one: Whole, code: str) -> Cell:
    row = _baseline_row(one, code)
    return row.value if row else None


ADSL_METHODS: Mapping[str, Callable[[Whole], Cell]] = {
    one.__name__: one
    for one in (
        *(planned_treatment, planned_treatment_number, actual_treatment, actual_treatment_number),
        *(consent_date, randomisation_date, first_dose_date, last_dose_date, randomised, intent_to_treat),
        *(safety, completer, per_protocol, age_group, age_group_number, end_of_study_status),
        *(end_of_study_date, discontinuation_reason, death_date, baseline_protein, baseline_albumin),
        *(baseline_creatinine, baseline_egfr, baseline_antibody, antibody_group),
    )
}
