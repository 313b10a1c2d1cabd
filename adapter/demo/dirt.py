"""What happens to records in real hospitals.

Every function spoils one thing in a chart in a way that must not change any planned verdict, and says
what is expected of a reader; None means that the chart offers nothing to spoil. ``keep`` names the
catalogue keys on which the patient's story rests: their records are left alone. Dirt that does decide a
verdict is part of the stories.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import date, datetime, timedelta

from adapter.demo.catalogue import CATALOGUE
from adapter.demo.fhir_json import (
    BASE_URL,
    ICD10,
    LIS,
    Chart,
    Resource,
    concept,
    in_utc,
    lab_code,
    quantity,
    ref,
    reference_range,
)
from adapter.demo.pharmacy import dispense, order
from adapter.demo.scenes import merge

Note = tuple[Resource, str]
Dirt = Callable[[Chart, frozenset[str], date], Note | None]


def _first(chart: Chart, keep: frozenset[str], *keys: str) -> tuple[str, Resource] | None:
    """The first untouched numeric result among ``keys`` that the story does not rest on."""
    for key in keys:
        for found in chart.labs.get(key, []):
            if key not in keep and "valueQuantity" in found:
                return key, found
    return None


def _respell(unit: str, *keys: str) -> Dirt:
    def spoil(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
        picked = _first(chart, keep, *keys)
        if not picked:
            return None
        value = picked[1]["valueQuantity"]
        picked[1]["valueQuantity"] = {"value": value["value"], "unit": unit}
        return picked[1], f"unit {unit} is repaired; the number stands"

    return spoil


def local_code(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "urine_protein_24h", "pla2r_antibody", "albumin", "ast")
    if not picked:
        return None
    picked[1]["code"] = lab_code(CATALOGUE[picked[0]], "local")
    return picked[1], "local code is mapped by the site's codes.csv"


def text_only(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "bilirubin_total", "ast", "glucose")
    if not picked:
        return None
    picked[1]["code"] = lab_code(CATALOGUE[picked[0]], "text")
    return picked[1], "Chinese text without any code is mapped by the site's codes.csv"


def local_unmapped(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.measured(
        "unmapped_other", day - timedelta(days=6), "412", style="local"
    ), "listed as unmapped"


def full_width(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "bilirubin_total", "ast")
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
    picked = _first(chart, keep, "ast", "glucose", "alt")
    if not picked:
        return None
    old = copy.deepcopy(picked[1])
    old["valueQuantity"]["value"] *= 10
    chart.late.append(old)  # the older version comes later in the export
    picked[1]["status"] = "corrected"
    _next_version(picked[1])
    return picked[1], "version 2 stands although version 1 comes later in the export"


def corrected_new_id(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "glucose", "bilirubin_total")
    if not picked:
        return None
    new = copy.deepcopy(picked[1]) | {"id": f"{picked[1]['id']}c", "status": "corrected"}
    _next_version(new)
    chart.late.append(new)
    picked[1]["valueQuantity"]["value"] += 2
    return new, "same identifier: the corrected result supersedes the first"


def preliminary_then_final(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "creatinine", "alt")
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
    picked = _first(chart, frozenset(), "albumin", "creatinine", "pla2r_antibody")
    if not picked:
        return None
    twin = copy.deepcopy(picked[1]) | {"id": f"{picked[1]['id']}d"}
    twin["identifier"] = [{"system": f"{LIS}/resent", "value": twin["id"]}]
    chart.late.append(twin)
    return twin, "the same reading under another id counts once"


def duplicate_contained(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, frozenset(), "creatinine", "albumin", "alt")
    if not picked:
        return None
    held = copy.deepcopy(picked[1]) | {"id": "r1"}
    del held["meta"]
    found = chart.panel(
        day - timedelta(days=6), "生化全套", [], contained=[held], result=[{"reference": "#r1"}]
    )
    return found, "the contained copy counts once with the Observation"


def merged(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    if any("link" in row for row in chart.rows):
        return None
    merge(chart, chart.birth)
    return chart.rows[-1], "replaced-by: both records are one person"


def see_also(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    survivor = next(row for row in chart.rows if row["id"] == chart.id)
    survivor.setdefault("link", []).append({"other": {"reference": "Patient/p00001"}, "type": "seealso"})
    return survivor, "seealso is a suggestion: the records stay apart"


def partial_onset(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.condition("2018-11", "高血压病2级", (ICD10, "I10.x00x002", "高血压病")), "known to the month"


def _range(ranges: list[Resource], expect: str, *keys: str) -> Dirt:
    def spoil(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
        picked = _first(chart, keep, *keys)
        if not picked:
            return None
        picked[1]["referenceRange"] = ranges
        if not ranges:
            del picked[1]["referenceRange"]
        return picked[1], expect

    return spoil


_WOMEN = {"appliesTo": [concept("妊娠期")], "high": quantity("30", "U/L", "U/L"), "text": "妊娠期 <30"}


def order_without_dispense(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = order(chart, "glycyrrhizin", day - timedelta(days=20), 14, "75", 3, unit="mg")
    return made, "an order is not intake; not an immunosuppressant either"


def not_systemic(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = dispense(chart, "ciclosporin_drops", day - timedelta(days=20), 30, "1", 2, unit="滴")
    return made, "eye drops are not systemic exposure"


def family_history(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.condition(
        "", "胃癌家族史", (ICD10, "Z80.000", "胃肠道恶性肿瘤家族史")
    ), "family history is never active"


def unconfirmed(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = chart.condition(
        "2019-01", "甲状腺功能减退症待查", (ICD10, "E03.900", ""), verification="provisional"
    )
    return made, "待查 is not a diagnosis"


def utc_midnight(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, keep, "pla2r_antibody", "alt", "glucose")
    if not picked:
        return None
    local = str(picked[1]["effectiveDateTime"])
    picked[1]["effectiveDateTime"] = in_utc(f"{local[:10]}T00:30:00+08:00")
    return picked[1], f"collected on {local[:10]} in Shanghai although UTC says the day before"


def conclusion_only(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = chart.panel(
        day - timedelta(days=30), "肾脏超声", [], conclusion="双肾大小形态正常,右肾长径10.8cm。"
    )
    return made, "text is shown, never parsed"


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


def medication_external(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = dispense(chart, "atorvastatin", day - timedelta(days=20), 28, "20", form="external")
    return made, "the drug is named in Medication/med-Y0403"


def medication_contained(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = order(chart, "furosemide", day - timedelta(days=20), 28, "20", 2, form="contained")
    return made, "the drug is named in a contained Medication"


def absolute_reference(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, frozenset(), "creatinine", "albumin")
    if not picked or picked[1]["subject"] != chart.me:
        return None
    picked[1]["subject"] = {"reference": f"{BASE_URL}/Patient/{chart.id}"}
    return picked[1], "absolute reference to this hospital's own server"


def versioned_reference(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, frozenset(), "ast", "bilirubin_total")
    if not picked or picked[1]["subject"] != chart.me:
        return None
    picked[1]["subject"] = {"reference": f"Patient/{chart.id}/_history/1"}
    return picked[1], "version-specific reference"


def unknown_fields(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, frozenset(), "glucose", "ast")
    if not picked:
        return None
    picked[1]["hisDeptCode"] = "0312"
    picked[1]["code"]["hisFlag"] = {"x": [1, None]}
    return picked[1], "unknown elements are tolerated"


def implausible(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    return chart.measured("weight", day - timedelta(days=40), "1240"), "outside 25..250 kg: not used"


def unit_missing(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("5.4", "")}
    return chart.observation("glucose", day - timedelta(days=8), value), "no unit: not used"


def unit_missing_with_default(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    value = {"valueQuantity": quantity("24", "")}
    made = chart.observation("ast", day - timedelta(days=15), value)
    return made, "the site's units.csv says U/L: used with UNIT_ASSUMED"


def json_escapes(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = _first(chart, frozenset(), "albumin", "alt")
    if not picked:
        return None
    chart.escaped.add(picked[1]["id"])
    return picked[1], "written with \\u and \\/ escapes: the sieve has to let it pass"


DIRT: dict[str, Dirt] = {
    "local_code": local_code,
    "text_only": text_only,
    "local_unmapped": local_unmapped,
    "full_width": full_width,
    "unit_spelling": _respell("g/24小时", "urine_protein_24h"),
    "micro_sign_mu": _respell("μmol/L", "creatinine"),
    "micro_sign": _respell("µmol/L", "bilirubin_total", "creatinine"),
    "enzyme_unit": _respell("u/L", "ast", "alt"),
    "pla2r_unit": _respell("RU/ml", "pla2r_antibody"),
    "comparator_element": comparator_element,
    "comparator_in_string": comparator_in_string,
    "corrected_same_id": corrected_same_id,
    "corrected_new_id": corrected_new_id,
    "preliminary": preliminary_then_final,
    "entered_in_error": entered_in_error,
    "cancelled": cancelled,
    "duplicate_other_id": duplicate_other_id,
    "duplicate_contained": duplicate_contained,
    "merged": merged,
    "see_also": see_also,
    "partial_onset": partial_onset,
    "range_missing": _range([], "the site's ranges.csv has this laboratory's limit", "alt", "ast"),
    "range_text": _range([{"text": "0--40"}], "0--40 is low and high", "ast", "alt"),
    "range_text_sexes": _range([{"text": "男:9-50 女:7-40"}], "the limit of the patient's sex", "alt", "ast"),
    "range_several": _range(
        [reference_range("9", "40", "U/L", "U/L"), _WOMEN],
        "the range without a condition applies",
        "alt",
        "ast",
    ),
    "order_without_dispense": order_without_dispense,
    "not_systemic": not_systemic,
    "family_history": family_history,
    "unconfirmed": unconfirmed,
    "utc_midnight": utc_midnight,
    "conclusion_only": conclusion_only,
    "has_member": has_member,
    "specimen_mismatch": specimen_mismatch,
    "medication_external": medication_external,
    "medication_contained": medication_contained,
    "absolute_reference": absolute_reference,
    "versioned_reference": versioned_reference,
    "unknown_fields": unknown_fields,
    "implausible": implausible,
    "unit_missing": unit_missing,
    "unit_missing_with_default": unit_missing_with_default,
    "json_escapes": json_escapes,
}


def soil(chart: Chart, place: int, keep: frozenset[str], day: date, pieces: int = 3) -> list[dict[str, str]]:
    """Apply ``pieces`` kinds of dirt to the ``place``-th patient, going round all kinds in order."""
    names, at_kind = list(DIRT), place * pieces
    notes: list[dict[str, str]] = []
    for name in (names[(at_kind + step) % len(names)] for step in range(len(names))):
        if len(notes) == pieces:
            break
        done = DIRT[name](chart, keep, day)
        if done is not None:
            row, expect = done
            notes.append({"type": name, "record": ref(row)["reference"], "expect": expect})
    return notes
