"""Medication records of the demo hospital: ordered, dispensed, given, reported as taken."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from adapter.demo.catalogue import DRUGS
from adapter.demo.fhir_json import ATC, PHARMACY, SNOMED, Chart, Resource, at, concept, quantity


def drug_code(key: str) -> Resource:
    drug = DRUGS[key]
    atc = [(ATC, drug.atc, "")] if drug.atc else []
    return concept(drug.name, *atc, (PHARMACY, drug.local, drug.name))


def formulary() -> list[Resource]:
    """The hospital's Medication resources, shared by all charts (``Medication/med-Y0101``...)."""
    return [
        {
            "resourceType": "Medication",
            "id": f"med-{drug.local}",
            "meta": {"versionId": "1", "lastUpdated": "2017-01-01T00:00:00+08:00"},
            "status": "active",
            "code": drug_code(key),
            "form": concept(drug.form),
        }
        for key, drug in DRUGS.items()
    ]


def named(key: str, form: str = "code") -> Resource:
    """medication[x] as ``code``, ``external`` reference, or ``contained`` Medication."""
    if form == "external":
        return {"medicationReference": {"reference": f"Medication/med-{DRUGS[key].local}"}}
    if form == "contained":
        held = {"resourceType": "Medication", "id": "drug", "code": drug_code(key)}
        return {"contained": [held], "medicationReference": {"reference": "#drug"}}
    return {"medicationCodeableConcept": drug_code(key)}


def dosage(key: str, per_intake: str, times_a_day: int, unit: str = "mg") -> list[Resource]:
    code, text = DRUGS[key].route
    return [
        {
            "text": f"{per_intake}{unit} 每日{times_a_day}次 {text}",
            "timing": {"repeat": {"frequency": times_a_day, "period": Decimal(1), "periodUnit": "d"}},
            "route": concept(text, (SNOMED, code, "")),
            "doseAndRate": [{"doseQuantity": quantity(per_intake, unit, unit if unit == "mg" else "")}],
        }
    ]


def order(
    chart: Chart, key: str, day: date, days: int, per_intake: str, times: int = 1, **options: Any
) -> Resource:
    """A MedicationRequest valid for ``days`` days from ``day``; options: form, status, unit, late."""
    form, unit = options.pop("form", "code"), options.pop("unit", "mg")
    return chart.add(
        "MedicationRequest",
        at(day, 11),
        status=options.pop("status", "completed"),
        intent="order",
        **named(key, form),
        subject=chart.me,
        authoredOn=at(day, 10),
        dosageInstruction=dosage(key, per_intake, times, unit),
        dispenseRequest={
            "validityPeriod": {
                "start": day.isoformat(),
                "end": (day + timedelta(days=days - 1)).isoformat(),
            }
        },
        **options,
    )


def dispense(
    chart: Chart, key: str, day: date, days: int, per_intake: str, times: int = 1, **options: Any
) -> Resource:
    """A MedicationDispense handed over on ``day`` that lasts ``days`` days."""
    form, unit = options.pop("form", "code"), options.pop("unit", "mg")
    amount = Decimal(per_intake) * times * days
    return chart.add(
        "MedicationDispense",
        at(day, 15),
        status=options.pop("status", "completed"),
        **named(key, form),
        subject=chart.me,
        quantity={"value": amount, "unit": unit},
        daysSupply={"value": Decimal(days), "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"},
        whenHandedOver=at(day, 14),
        dosageInstruction=dosage(key, per_intake, times, unit),
        **options,
    )


def given(chart: Chart, key: str, when: str, amount: str, **options: Any) -> Resource:
    """One MedicationAdministration at the instant ``when``."""
    code, text = DRUGS[key].route
    return chart.add(
        "MedicationAdministration",
        when,
        status=options.pop("status", "completed"),
        **named(key, options.pop("form", "code")),
        subject=chart.me,
        effectiveDateTime=when,
        dosage={"route": concept(text, (SNOMED, code, "")), "dose": quantity(amount, "mg", "mg")},
        **options,
    )


def taken(chart: Chart, key: str, recorded: date, start: str, end: str = "", **options: Any) -> Resource:
    """A MedicationStatement; ``start``/``end`` may be partial dates, no end means still taken."""
    code, text = DRUGS[key].route
    return chart.add(
        "MedicationStatement",
        at(recorded, 9),
        status=options.pop("status", "completed" if end else "active"),
        **named(key, options.pop("form", "code")),
        subject=chart.me,
        effectivePeriod={"start": start} | ({"end": end} if end else {}),
        dateAsserted=recorded.isoformat(),
        dosage=[{"text": text, "route": concept(text, (SNOMED, code, ""))}],
        **options,
    )
