"""eGFR from each creatinine that may decide, by each equation the table asks for.

A creatinine that was replaced by a corrected one gives its eGFR too, replaced as well: what was acted on
before the correction can then be replayed.

Age is that of the day of the sample, in completed years; an incomplete birth date gives the interval between
the values for the oldest and the youngest age it allows. No row without a known sex and a birth date. The
equations are for adults: for anyone who was or may have been younger than 18 the row has no value and says so
(AGE_NOT_ADULT), so that nobody takes the silence for a missing creatinine.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapter.mappers.context import Context
from adapter.mappers.flags import flags_of
from adapter.mappers.results.equations import ADULT_AGE, EQUATIONS, Equation, Sex, estimate_interval
from adapter.mappers.results.units import outside
from adapter.model.dates import completed_years
from adapter.model.facts import Finding, Subject

NOT_ADULT = "AGE_NOT_ADULT"


def filtration_of(findings: tuple[Finding, ...], context: Context) -> Iterator[Finding]:
    """The derived eGFR rows of one subject's creatinines."""
    concept = context.terminology.concepts["egfr"]
    equations = [EQUATIONS[name] for name in concept.derive if name in EQUATIONS]
    for row in findings:
        person = context.people.get(row.subject)
        if row.concept != "creatinine" or row.use not in ("AUTO", "FLAG") or person is None:
            continue
        if row.excluded not in ("", "SUPERSEDED"):
            continue
        for equation in equations:
            found = _estimated(row, person, equation)
            if found is None:
                continue
            if found.value is not None and outside(found.value, concept.hard):
                continue  # the creatinine was plausible; nothing is gained by a second refusal of it
            yield found


def _estimated(row: Finding, person: Subject, equation: Equation) -> Finding | None:
    if row.value is None or row.when is None or person.birth is None:
        return None
    if person.sex not in ("male", "female"):
        return None
    if (row.value.low is not None and row.value.low <= 0) or (
        row.value.high is not None and row.value.high <= 0
    ):
        return None
    youngest = completed_years(person.birth.last, row.when.first)
    oldest = completed_years(person.birth.first, row.when.last)
    sex: Sex = "female" if person.sex == "female" else "male"
    ages = str(youngest) if youngest == oldest else f"{youngest} to {oldest}"
    adult = youngest >= ADULT_AGE
    return Finding(
        subject=row.subject,
        concept="egfr",
        source=row.source,
        category="derived",
        use=row.use,
        value=estimate_interval(equation, row.value, sex, youngest, oldest) if adult else None,
        unit="mL/min/{1.73_m2}",
        original=f"creatinine {row.value} {row.unit}, {sex}, {ages} years",
        start=row.start,
        end=row.end,
        issued=row.issued,
        status=row.status,
        method=equation.name,
        specimen=row.specimen,
        specimen_id=row.specimen_id,
        laboratory=row.laboratory,
        report=row.report,
        conversion=equation.name,
        flags=flags_of("" if youngest == oldest else "AGE_APPROXIMATE", more=row.flags),
        derived_from=(row.source,),
        excluded=row.excluded or ("" if adult else NOT_ADULT),
    )
