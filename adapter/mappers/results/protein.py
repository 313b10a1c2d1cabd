"""24 h urine protein that no analyser printed: concentration x volume, mass / duration, and scaling to 24 h.

First that works: a mass per time; a concentration with the volume of the same collection; a mass with the
duration of the same collection. A stated duration must be 22..26 h and the value is scaled to 24 h
(DURATION_NORMALISED), outside it is not used (DURATION_OUTSIDE). The length of an effective period is often a
ward's habit rather than a measurement, so it can rule a collection out but never scales it. Nothing is
rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import msgspec

from adapter.mappers.context import Context
from adapter.mappers.flags import flags_of
from adapter.mappers.results.pairing import partners
from adapter.mappers.results.units import Canonical, plausible
from adapter.mappers.results.values import quantity
from adapter.model.facts import Coding, Finding, Source
from adapter.model.quantity import Interval, number_text

DAY_HOURS = Fraction(24)
_DEFAULT_HOURS = (Fraction(22), Fraction(26))
_MG_PER_DL_ML_TO_G = Fraction(1, 100_000)
# Named a volume of urine, not of 24 h urine: used by PTU panels and wards for any collection (A.2).
_VOLUME_NEEDS_DURATION = frozenset({"19153-6", "28009-9", "9192-6"})
_ADEQUATE_MG_PER_KG = Fraction(10)
_WEIGHT_DAYS = 90


class Duration(msgspec.Struct, frozen=True, gc=False):
    """Hours of a collection. ``stated`` durations scale the value; a period's length only bounds it."""

    hours: Fraction | None = None
    stated: bool = False
    source: Source | None = None
    trouble: str = ""


def protein_of(findings: tuple[Finding, ...], context: Context) -> tuple[Finding, ...]:
    """All findings of one subject, protein masses scaled, and what follows from concentrations and masses."""
    durations = [row for row in findings if row.concept == "urine_collection_duration" and _valid(row)]
    scaled = tuple(
        _scaled(row, durations, context) if row.concept == "urine_protein_24h" and not row.excluded else row
        for row in findings
    )
    direct = [row for row in scaled if row.concept == "urine_protein_24h" and _valid(row)]
    derived = (
        *_from_concentrations(scaled, durations, direct, context),
        *_from_masses(scaled, durations, direct, context),
    )
    return tuple(_check_collection(row, scaled) for row in (*scaled, *derived))


def _scaled(row: Finding, durations: list[Finding], context: Context) -> Finding:
    duration = _duration(row, durations, context)
    if duration.trouble:
        return _with(row, duration.trouble, excluded=duration.trouble)
    if not duration.stated or duration.hours in (None, DAY_HOURS) or row.value is None:
        return row
    assert duration.hours is not None  # noqa: S101 - checked above
    return _plausible(_normalised(row, row.value, duration, duration.hours), context)


def _normalised(row: Finding, value: Interval, duration: Duration, hours: Fraction) -> Finding:
    step = f"x 24 / {number_text(hours)} h"
    return msgspec.structs.replace(
        row,
        value=value.scaled(DAY_HOURS / hours),
        conversion=f"{row.conversion} {step}".strip(),
        flags=flags_of("DURATION_NORMALISED", more=row.flags),
        derived_from=(*row.derived_from, *((duration.source,) if duration.source else ())),
    )


def _from_concentrations(
    findings: tuple[Finding, ...], durations: list[Finding], direct: list[Finding], context: Context
) -> Iterator[Finding]:
    volumes = [row for row in findings if row.concept == "urine_volume_24h" and _valid(row)]
    for row in findings:
        if row.concept != "urine_protein_concentration_24h" or row.excluded or row.value is None:
            continue
        if partners(row, direct):
            continue
        duration = _duration(row, durations, context)
        # 35663-4 states no collection time, so it counts only beside a stated duration.
        if row.use == "NEVER" or (
            row.use == "SUPP" and ("CODE_UNVERIFIED" in row.flags or not duration.stated)
        ):
            continue
        yield _product(row, partners(row, volumes), duration, context)


def _product(row: Finding, volumes: tuple[Finding, ...], duration: Duration, context: Context) -> Finding:
    base = _derived(row, "concentration x volume", (row,))
    usable = [one for one in volumes if duration.stated or one.code.code not in _VOLUME_NEEDS_DURATION]
    amounts = {one.value for one in usable if one.value is not None}
    if not amounts:
        reason = "DURATION_OUTSIDE" if volumes and duration.trouble else "NO_VOLUME"
        return _with(base, reason, excluded=reason)
    if len(amounts) > 1:
        return _with(base, "CONFLICT", excluded="CONFLICT")
    volume = min(usable, key=lambda one: one.source)
    assert row.value is not None  # noqa: S101 - the caller looked
    assert volume.value is not None  # noqa: S101 - so did _valid
    base = _derived(row, "concentration x volume", (row, volume))
    if duration.trouble:
        return _with(base, duration.trouble, excluded=duration.trouble)
    grams = _times(row.value, volume.value).scaled(_MG_PER_DL_ML_TO_G)
    text = f"{row.value} {row.unit} x {volume.value} {volume.unit}"
    found = msgspec.structs.replace(base, value=grams, original=text, conversion=f"{text} / 100000")
    if duration.stated and duration.hours not in (None, DAY_HOURS):
        assert duration.hours is not None  # noqa: S101 - checked above
        found = _normalised(found, grams, duration, duration.hours)
    return _plausible(found, context)


def _from_masses(
    findings: tuple[Finding, ...], durations: list[Finding], direct: list[Finding], context: Context
) -> Iterator[Finding]:
    """LOINC 32551-4: an amount of protein in a collection whose duration is stated elsewhere."""
    for row in findings:
        if row.concept != "urine_protein_mass" or row.excluded or row.value is None or row.use == "NEVER":
            continue
        duration = _duration(row, durations, context)
        if partners(row, direct) or not duration.stated or "CODE_UNVERIFIED" in row.flags:
            continue
        base = _derived(row, "mass / duration", (row,))
        if duration.trouble or duration.hours is None:
            yield _with(base, duration.trouble, excluded=duration.trouble)
            continue
        base = msgspec.structs.replace(base, original=f"{row.value} {row.unit}")
        yield _plausible(_normalised(base, row.value, duration, duration.hours), context)


def _duration(row: Finding, durations: list[Finding], context: Context) -> Duration:
    low, high = _limits(context)
    stated = [
        one for one in partners(row, durations) if one.value is not None and one.value.point is not None
    ]
    hours = {one.value.point for one in stated if one.value is not None}
    if len(hours) > 1:
        return Duration(stated=True, trouble="CONFLICT")
    if hours:
        source = min(one.source for one in stated)
        return _judged(Duration(next(iter(hours)), True, source), low, high)
    from_specimen = _specimen_hours(row, context)
    if from_specimen is not None:
        source = Source(row.specimen_id, path="collection.duration")
        return _judged(Duration(from_specimen, True, source), low, high)
    if row.start and row.end and row.start.at and row.end.at:
        seconds = int((row.end.at - row.start.at).total_seconds())
        return _judged(Duration(Fraction(seconds, 3600)), low, high)
    return Duration()


def _judged(duration: Duration, low: Fraction, high: Fraction) -> Duration:
    if duration.hours is not None and low <= duration.hours <= high:
        return duration
    return msgspec.structs.replace(duration, trouble="DURATION_OUTSIDE")


def _limits(context: Context) -> tuple[Fraction, Fraction]:
    bounds = context.terminology.concepts["urine_protein_24h"].duration_h
    return (bounds.low, bounds.high) if bounds else _DEFAULT_HOURS


def _specimen_hours(row: Finding, context: Context) -> Fraction | None:
    specimen = context.index.specimens.get(row.specimen_id.removeprefix("Specimen/"))
    collection = specimen.collection if specimen else None
    if collection is None or collection.duration is None:
        return None
    sent = quantity(collection.duration)
    point = sent.interval.point if sent.interval else None
    for text in sent.units:
        entry = context.terminology.unit_for("urine_collection_duration", text)
        if entry is not None and point is not None:
            return point * entry.factor + entry.offset
    return None


def _check_collection(row: Finding, findings: tuple[Finding, ...]) -> Finding:
    """COLLECTION_INCOMPLETE: creatinine excretion below 10 mg/kg/d in the same collection.

    The limit is an engineering choice (pitfall E-47); the verdict does not change.
    """
    if row.concept != "urine_protein_24h" or row.value is None:
        return row
    excretions = partners(
        row, [one for one in findings if one.concept == "urine_creatinine_24h" and not one.excluded]
    )
    weight = _weight(row, findings)
    for excretion in excretions:
        most = excretion.value.high if excretion.value else None
        if weight is not None and most is not None and most < _ADEQUATE_MG_PER_KG * weight:
            return _with(row, "COLLECTION_INCOMPLETE", excluded=row.excluded)
    return row


def _weight(row: Finding, findings: Iterable[Finding]) -> Fraction | None:
    """The weight measured nearest to the collection, within 90 days."""
    if row.when is None:
        return None
    near = [
        (abs((one.when.first - row.when.first).days), one.source, one.value.point)
        for one in findings
        if one.concept == "weight" and _valid(one) and one.when and one.value and one.value.point is not None
    ]
    near = [entry for entry in near if entry[0] <= _WEIGHT_DAYS]
    return min(near)[2] if near else None


def _derived(row: Finding, method: str, inputs: tuple[Finding, ...]) -> Finding:
    return Finding(
        subject=row.subject,
        concept="urine_protein_24h",
        source=row.source,
        category="derived",
        use="FLAG" if any(one.use == "FLAG" for one in inputs) else "AUTO",
        unit="g/d",
        start=row.start,
        end=row.end,
        issued=row.issued,
        status=row.status,
        method=method,
        specimen=row.specimen,
        specimen_id=row.specimen_id,
        laboratory=row.laboratory,
        report=row.report,
        code=Coding(),
        flags=flags_of(more=(flag for one in inputs for flag in one.flags)),
        derived_from=tuple(one.source for one in inputs),
    )


def _with(row: Finding, flag: str, *, excluded: str) -> Finding:
    return msgspec.structs.replace(row, flags=flags_of(flag, more=row.flags), excluded=excluded)


def _plausible(row: Finding, context: Context) -> Finding:
    concept = context.terminology.concepts["urine_protein_24h"]
    sign = "<" if row.value is not None and row.value.low is None else ""
    checked = plausible(Canonical(concept, row.value), sign)
    return msgspec.structs.replace(
        row, flags=flags_of(more=(*row.flags, *checked.flags)), excluded=row.excluded or checked.excluded
    )


def _valid(row: Finding) -> bool:
    return not row.excluded and row.value is not None and row.use in ("AUTO", "FLAG")


def _times(left: Interval, right: Interval) -> Interval:
    """The product of two quantities that cannot be negative."""
    low = None if left.low is None or right.low is None else left.low * right.low
    high = None if left.high is None or right.high is None else left.high * right.high
    return Interval(low, high, left.low_closed and right.low_closed, left.high_closed and right.high_closed)
