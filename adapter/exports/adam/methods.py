"""The named methods of analysis variables: of a subject (ADSL) and of a row (ADLB, ADRS, ADTTE).

Each takes what was found for the row and says one thing of it; its docstring is what Define-XML tells.
Source: ADaMIG 1.3, sections 3.2 (ADSL) and 3.3 (BDS).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

from adapter.exports.adam.subject import Row
from adapter.exports.adam.thresholds import study_day
from adapter.exports.dataset import Cell, day_number

_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)


def planned_treatment(row: Row) -> Cell:
    """The planned arm of the subject (ADSL.TRT01P)."""
    return row.subject.adsl.get("TRT01P")


def analysis_sequence(row: Row) -> Cell:
    """1..n within the subject, by parameter, visit, date and source."""
    return row.sequence


def parameter_code(row: Row) -> Cell:
    """The short name of the parameter."""
    return row.parameter.code


def parameter_name(row: Row) -> Cell:
    """The name of the parameter with its unit."""
    return row.parameter.name


def parameter_number(row: Row) -> Cell:
    """The number of the parameter."""
    return row.parameter.number


def analysis_value(row: Row) -> Cell:
    """The number of the source in standard units; none where the source gives a comparator or a range."""
    return row.value


def analysis_text(row: Row) -> Cell:
    """The result as text with its comparator, or the response or answer in words."""
    return row.text or None


def analysis_date(row: Row) -> Cell:
    """The day of the source: the end of a timed collection, else its start; none if not known to the day."""
    return _number(row.day)


def analysis_day(row: Row) -> Cell:
    """Days from randomisation (ADSL.RANDDT), which is day 1; there is no day 0."""
    return study_day(row.day, row.subject.zero)


def visit_name(row: Row) -> Cell:
    """The visit of the protocol whose window holds the day; Baseline where a baseline is looked for."""
    if row.at_baseline:
        return "Baseline"
    return row.window.name if row.window else None


def visit_number(row: Row) -> Cell:
    """0 for Baseline, then the visits of the protocol in order."""
    if row.at_baseline:
        return 0
    return row.window.number if row.window else None


def window_target(row: Row) -> Cell:
    """The target day of the visit, counted as ADY."""
    return study_day(row.window.target, row.subject.zero) if row.window else None


def window_difference(row: Row) -> Cell:
    """ADY less the target day."""
    target, day = window_target(row), analysis_day(row)
    return day - target if isinstance(day, int) and isinstance(target, int) else None


def window_first(row: Row) -> Cell:
    """The first day of the visit's window, counted as ADY."""
    return study_day(row.window.first, row.subject.zero) if row.window else None


def window_last(row: Row) -> Cell:
    """The last day of the visit's window, counted as ADY."""
    return study_day(row.window.last, row.subject.zero) if row.window else None


def window_unit(row: Row) -> Cell:
    """DAYS, where there is a window."""
    return "DAYS" if row.window else None


def baseline_flag(row: Row) -> Cell:
    """Y for the last result within the protocol's window up to and including the day of randomisation."""
    return "Y" if row.is_baseline else None


def base(row: Row) -> Cell:
    """AVAL of the subject's baseline record of the parameter."""
    return row.baseline.value if row.baseline else None


def change(row: Row) -> Cell:
    """AVAL - BASE, after baseline."""
    start = row.baseline.value if row.baseline else None
    return row.value - start if _after(row) and start is not None and row.value is not None else None


def percent_change(row: Row) -> Cell:
    """100 * (AVAL - BASE) / BASE, after baseline, rounded half to even."""
    return _percent(row, row.baseline.value if row.baseline else None) if _after(row) else None


def peak(row: Row) -> Cell:
    """The highest AVAL of the parameter from before the day of the record, since the first record on file."""
    return row.peak.value if row.peak and not row.derivation else None


def percent_from_peak(row: Row) -> Cell:
    """100 * (AVAL - PEAK) / PEAK, after baseline, rounded half to even."""
    return _percent(row, row.peak.value if row.peak else None) if _after(row) and not row.derivation else None


def used_flag(row: Row) -> Cell:
    """Y for the one record of the visit that is analysed: the one that the protocol's response or endpoint
    rests on, else the nearest to the target day, of two equally near the earlier, of one day the later."""
    return "Y" if row.used else None


def observed_flag(row: Row) -> Cell:
    """Y if the subject was evaluated, that is, the value is not imputed."""
    return "Y" if row.observed else None


def derivation_type(row: Row) -> Cell:
    """How the row was derived, if it is no record of the source."""
    return row.derivation or None


def imputation_reason(row: Row) -> Cell:
    """Why there is no assessment where a non-responder is imputed."""
    return row.reason or None


def source_dataset(row: Row) -> Cell:
    """The SDTM dataset of the record that the value is taken from."""
    return row.source.dataset if row.source else None


def source_variable(row: Row) -> Cell:
    """The SDTM variable that the value is taken from."""
    return row.source_variable if row.source and row.source_variable else None


def source_sequence(row: Row) -> Cell:
    """--SEQ of the SDTM record that the value is taken from."""
    return row.source.number if row.source else None


def range_low(row: Row) -> Cell:
    """The lower reference limit in standard units."""
    return _of_record(row, "STNRLO")


def range_high(row: Row) -> Cell:
    """The upper reference limit in standard units."""
    return _of_record(row, "STNRHI")


def range_indicator(row: Row) -> Cell:
    """The reference range indicator of the SDTM record."""
    return _of_record(row, "NRIND")


def criterion_1(row: Row) -> Cell:
    """The criterion in words; the threshold is that of the protocol."""
    return row.flags.get(1, ("", ""))[0] or None


def criterion_1_flag(row: Row) -> Cell:
    """Y if the criterion surely holds, N if it surely does not; empty where a comparator leaves it open."""
    return row.flags.get(1, ("", ""))[1] or None


def criterion_2(row: Row) -> Cell:
    """The criterion in words; the threshold is that of the protocol."""
    return row.flags.get(2, ("", ""))[0] or None


def criterion_2_flag(row: Row) -> Cell:
    """Y if the criterion surely holds, N if it surely does not; empty where a comparator leaves it open."""
    return row.flags.get(2, ("", ""))[1] or None


def criterion_3(row: Row) -> Cell:
    """The criterion in words; the threshold is that of the protocol."""
    return row.flags.get(3, ("", ""))[0] or None


def criterion_3_flag(row: Row) -> Cell:
    """Y if the criterion surely holds, N if it surely does not; empty where a comparator leaves it open."""
    return row.flags.get(3, ("", ""))[1] or None


def start_date(row: Row) -> Cell:
    """The day that the time is counted from: randomisation, or the first remission for a relapse."""
    return _number(row.started)


def days_to_event(row: Row) -> Cell:
    """ADT - STARTDT + 1, in days."""
    return (row.day - row.started).days + 1 if row.day and row.started else None


def censoring(row: Row) -> Cell:
    """0 event; 1 censored at the last assessment; 2 censored at the start, never assessed after it."""
    return row.censor


def event_description(row: Row) -> Cell:
    """What happened, or that it was not seen."""
    return row.event or None


def censor_date_description(row: Row) -> Cell:
    """What the date of a censored subject is."""
    return row.censored_at or None


def _number(day: date | None) -> int | None:
    return None if day is None else day_number(day)


def _after(row: Row) -> bool:
    zero = row.subject.zero
    return zero is not None and row.day is not None and row.day > zero and not row.at_baseline


def _percent(row: Row, start: Fraction | None) -> Cell:
    if row.value is None or not start:
        return None
    exact = 100 * (row.value - start) / start
    quotient = _WIDE.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    return _WIDE.quantize(quotient, Decimal(1).scaleb(-row.decimals)) + 0  # no negative zero


def _of_record(row: Row, ending: str) -> Cell:
    return row.record.get(f"{row.parameter.dataset}{ending}") if row.record and not row.derivation else None


BDS_METHODS: dict[str, Callable[[Row], Cell]] = {
    one.__name__: one
    for one in (
        *(planned_treatment, analysis_sequence, parameter_code, parameter_name, parameter_number),
        *(analysis_value, analysis_text, analysis_date, analysis_day, visit_name, visit_number),
        *(window_target, window_difference, window_first, window_last, window_unit),
        *(baseline_flag, base, change, percent_change, peak, percent_from_peak, used_flag, observed_flag),
        *(derivation_type, imputation_reason, source_dataset, source_variable, source_sequence),
        *(range_low, range_high, range_indicator, start_date, days_to_event, censoring),
        *(event_description, censor_date_description),
        *(criterion_1, criterion_1_flag, criterion_2, criterion_2_flag, criterion_3, criterion_3_flag),
    )
}
