"""What happens to laboratory results in real hospitals.

Every function spoils one result of a chart in a way that must not change any planned verdict, and says
what is expected of a reader; None means that the chart offers nothing to spoil. ``keep`` names the
catalogue keys on which the patient's story rests: their records are left alone. Dirt that does decide a
verdict is part of the stories.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date, datetime, timedelta

from adapter.demo.catalogue import CATALOGUE
from adapter.demo.fhir_json import LIS, Chart, Resource, concept, in_utc, lab_code, quantity, ref

Note = tuple[Resource, str]
Dirt = Callable[[Chart, frozenset[str], date], Note | None]


def untouched(chart: Chart, keep: frozenset[str], *keys: str) -> tuple[str, Resource] | None:
    """The first untouched numeric result among ``keys`` that the story does not rest on."""
    for key in keys:
        for found in chart.labs.get(key, []):
            if key not in keep and "valueQuantity" in found:
                return key, found
    return None


def respelled(unit: str, *keys: str) -> Dirt:
    def spoil(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
        picked = untouched(chart, keep, *keys)
        if not picked:
            return None
        value = picked[1]["valueQuantity"]
        picked[1]["valueQuantity"] = {"value": value["value"], "unit": unit}
        return picked[1], f"unit {unit} is repaired; the number stands"

    return spoil


def local_code(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "urine_protein_24h", "pla2r_antibody", "albumin", "ast")
    if not picked:
        return None
    picked[1]["code"] = lab_code(CATALOGUE[picked[0]], "local")
    return picked[1], "local code is mapped by the site's codes.csv"


def text_only(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "bilirubin_total", "ast", "glucose")
    if not picked:
        return None
    picked[1]["code"] = lab_code(CATALOGUE[picked[0]], "text")
    return picked[1], "Chinese text without any code is mapped by the site's codes.csv"


def local_unmapped(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.measured(
        "unmapped_other", day - timedelta(days=6), "412", style="local"
    ), "listed as unmapped"


def full_width(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "bilirubin_total", "ast")
    if not picked:
        return None
    wide = str(picked[1].pop("valueQuantity")["value"]).translate(
        str.maketrans("0123456789.", "０１２３４５６７８９．")
    )
    picked[1]["valueString"] = f"{wide} {'μmol/L' if picked[0] == 'bilirubin_total' else 'Ｕ／Ｌ'}"
    return picked[1], "full-width digits and units are normalised"


def comparator_element(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("0.5", "mg/L", "mg/L", "<")}
    return chart.observation("crp", day - timedelta(days=6), value), "an interval, not 0.5"


def comparator_in_string(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueString": "<0.5 mg/L"}
    return chart.observation("crp", day - timedelta(days=7), value), "an interval, not 0.5"


def corrected_same_id(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "ast", "glucose", "alt")
    if not picked:
        return None
    old = copy.deepcopy(picked[1])
    old["valueQuantity"]["value"] *= 10
    chart.late.append(old)  # the older version comes later in the export
    picked[1]["status"] = "corrected"
    _next_version(picked[1])
    return picked[1], "version 2 stands although version 1 comes later in the export"


def corrected_new_id(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "glucose", "bilirubin_total")
    if not picked:
        return None
    new = copy.deepcopy(picked[1]) | {"id": f"{picked[1]['id']}c", "status": "corrected"}
    _next_version(new)
    chart.late.append(new)
    picked[1]["valueQuantity"]["value"] += 2
    return new, "same identifier: the corrected result supersedes the first"


def preliminary_then_final(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "creatinine", "alt")
    if not picked:
        return None
    old = copy.deepcopy(picked[1]) | {"status": "preliminary"}
    old["valueQuantity"]["value"] += 1
    chart.rows.insert(0, old)
    _next_version(picked[1])
    return picked[1], "the final version replaces the preliminary one"


def _next_version(row: Resource) -> None:
    stamp = datetime.fromisoformat(row["meta"]["lastUpdated"]) + timedelta(hours=15)
    row["meta"] = {"versionId": "2", "lastUpdated": stamp.isoformat()}


def entered_in_error(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.measured(
        "creatinine", day - timedelta(days=2), "912", status="entered-in-error"
    ), "never used"


def cancelled(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = chart.observation("albumin", day - timedelta(days=1), {}, status="cancelled")
    made["dataAbsentReason"] = concept(
        "溶血", ("http://terminology.hl7.org/CodeSystem/data-absent-reason", "not-performed", "")
    )
    return made, "no value: not a result"


def duplicate_other_id(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "albumin", "creatinine", "pla2r_antibody")
    if not picked:
        return None
    twin = copy.deepcopy(picked[1]) | {"id": f"{picked[1]['id']}d"}
    twin["identifier"] = [{"system": f"{LIS}/resent", "value": twin["id"]}]
    chart.late.append(twin)
    return twin, "the same reading under another id counts once"


def duplicate_contained(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "creatinine", "albumin", "alt")
    if not picked:
        return None
    held = copy.deepcopy(picked[1]) | {"id": "r1"}
    del held["meta"]
    found = chart.panel(
        day - timedelta(days=6), "生化全套", [], contained=[held], result=[{"reference": "#r1"}]
    )
    return found, "the contained copy counts once with the Observation"


def ranged(ranges: list[Resource], expect: str, *keys: str) -> Dirt:
    def spoil(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
        picked = untouched(chart, keep, *keys)
        if not picked:
            return None
        picked[1]["referenceRange"] = ranges
        if not ranges:
            del picked[1]["referenceRange"]
        return picked[1], expect

    return spoil


IN_PREGNANCY = {"appliesTo": [concept("妊娠期")], "high": quantity("30", "U/L", "U/L"), "text": "妊娠期 <30"}


def utc_midnight(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, keep, "pla2r_antibody", "alt", "glucose")
    if not picked:
        return None
    local = str(picked[1]["effectiveDateTime"])
    picked[1]["effectiveDateTime"] = in_utc(f"{local[:10]}T00:30:00+08:00")
    return picked[1], f"collected on {local[:10]} in Shanghai although UTC says the day before"


def has_member(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    members = [chart.labs[key][0] for key in ("alt", "ast") if key in chart.labs]
    made = chart.observation("alt", day - timedelta(days=6), {}, ref=[])
    chart.labs["alt"].pop()
    made["code"] = concept("肝酶组合", (LIS, "LFTPANEL", "肝酶组合"))
    made["hasMember"] = [ref(member) for member in members]
    return made, "the panel itself has no value; its members are read once"


def specimen_mismatch(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    when = day - timedelta(days=4)
    fluid = chart.specimen(when, "腹水", "168139001")
    made = chart.measured("albumin", when, "11", specimen=ref(fluid), ref=[])
    chart.labs["albumin"].pop()
    return made, "serum code on an ascites specimen: ignored"


def implausible(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.measured("weight", day - timedelta(days=40), "1240"), "outside 25..250 kg: not used"


def weight_in_jin(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("124", "斤")}
    return chart.observation("weight", day - timedelta(days=30), value), "124 斤 is 62 kg"


def unit_missing(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("5.4", "")}
    return chart.observation("glucose", day - timedelta(days=8), value), "no unit: not used"


def unit_missing_with_default(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("24", "")}
    made = chart.observation("ast", day - timedelta(days=15), value)
    return made, "the site's units.csv says U/L: used with UNIT_ASSUMED"
