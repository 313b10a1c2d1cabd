"""What happens to the other records in real hospitals, and the table of all kinds of dirt.

The rules are those of ``result_dirt``: no planned verdict changes.
"""

from __future__ import annotations

from datetime import date, timedelta

from adapter.demo.fhir_json import BASE_URL, ICD10, Chart, ref, reference_range
from adapter.demo.pharmacy import dispense, order
from adapter.demo.result_dirt import (
    IN_PREGNANCY,
    Dirt,
    Note,
    cancelled,
    comparator_element,
    comparator_in_string,
    corrected_new_id,
    corrected_same_id,
    duplicate_contained,
    duplicate_other_id,
    entered_in_error,
    full_width,
    has_member,
    implausible,
    local_code,
    local_unmapped,
    preliminary_then_final,
    ranged,
    respelled,
    specimen_mismatch,
    text_only,
    unit_missing,
    unit_missing_with_default,
    untouched,
    utc_midnight,
    weight_in_jin,
)
from adapter.demo.scenes import merge


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


def conclusion_only(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = chart.panel(
        day - timedelta(days=30), "肾脏超声", [], conclusion="双肾大小形态正常,右肾长径10.8cm。"
    )
    return made, "text is shown, never parsed"


def medication_external(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = dispense(chart, "atorvastatin", day - timedelta(days=20), 28, "20", form="external")
    return made, "the drug is named in Medication/med-Y0403"


def medication_contained(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    made = order(chart, "furosemide", day - timedelta(days=20), 28, "20", 2, form="contained")
    return made, "the drug is named in a contained Medication"


def absolute_reference(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "creatinine", "albumin")
    if not picked or picked[1]["subject"] != chart.me:
        return None
    picked[1]["subject"] = {"reference": f"{BASE_URL}/Patient/{chart.id}"}
    return picked[1], "absolute reference to this hospital's own server"


def versioned_reference(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "ast", "bilirubin_total")
    if not picked or picked[1]["subject"] != chart.me:
        return None
    picked[1]["subject"] = {"reference": f"Patient/{chart.id}/_history/1"}
    return picked[1], "version-specific reference"


def unknown_fields(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "glucose", "ast")
    if not picked:
        return None
    picked[1]["hisDeptCode"] = "0312"
    picked[1]["code"]["hisFlag"] = {"x": [1, None]}
    return picked[1], "unknown elements are tolerated"


def json_escapes(chart: Chart, keep: frozenset[str], day: date) -> Note | None:
    picked = untouched(chart, frozenset(), "albumin", "alt")
    if not picked:
        return None
    chart.escaped.add(picked[1]["id"])
    return picked[1], "written with \\u and \\/ escapes: the sieve has to let it pass"


DIRT: dict[str, Dirt] = {
    "local_code": local_code,
    "text_only": text_only,
    "local_unmapped": local_unmapped,
    "full_width": full_width,
    "unit_spelling": respelled("g/24小时", "urine_protein_24h"),
    "micro_sign_mu": respelled("μmol/L", "creatinine"),
    "micro_sign": respelled("µmol/L", "bilirubin_total", "creatinine"),
    "enzyme_unit": respelled("u/L", "ast", "alt"),
    "pla2r_unit": respelled("RU/ml", "pla2r_antibody"),
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
    "range_missing": ranged([], "the site's ranges.csv has this laboratory's limit", "alt", "ast"),
    "range_text": ranged([{"text": "0--40"}], "0--40 is low and high", "ast", "alt"),
    "range_text_sexes": ranged([{"text": "男:9-50 女:7-40"}], "the limit of the patient's sex", "alt", "ast"),
    "range_several": ranged(
        [reference_range("9", "40", "U/L", "U/L"), IN_PREGNANCY],
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
    "weight_in_jin": weight_in_jin,
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
