"""How each word of the vocabulary sounds: a condition or anchor as written, in English, in Chinese."""

from __future__ import annotations

HEAD = """
id: EXAMPLE-1
version: "1"
title: An example
anchors:
  screening: {as_of: true}
  biopsy: {event: kidney_biopsy}
# ANCHOR
windows:
  laboratory: {from: screening - 28 days, to: screening}
readings:
  first_egfr: {finding: egfr, take: earliest}
  last_egfr: {finding: egfr, within: laboratory}
criteria:
  - {id: OTHER, kind: inclusion, text: other, met_when: {sex: female}}
"""

ALBUMIN = "finding: albumin, within: laboratory"
CONDITIONS: list[tuple[str, str, str]] = [
    ("sex: male", "male", "男性"),
    ("not: {sex: male}", "not: male", "非：男性"),
    (
        "all: [{sex: male}, {criterion: OTHER}]",
        "all of: male; criterion OTHER is met",
        "以下全部：男性；标准OTHER符合",
    ),
    (
        "any: [{sex: male}, {criterion: OTHER, is: unknown}]",
        "any of: male; criterion OTHER is unknown",
        "以下任一：男性；标准OTHER未知",
    ),
    (
        "if: {sex: female}, then: {criterion: OTHER}",
        "if female, then criterion OTHER is met",
        "若女性，则标准OTHER符合",
    ),
    (
        f"{ALBUMIN}, below: 25 g/L",
        "the latest Serum albumin from 28 days before screening to screening is below 25 g/L",
        "最近一次血清白蛋白（筛选日前28天至筛选日）低于25 g/L",
    ),
    (
        "finding: albumin, take: nearest, near: biopsy, between: [22 g/L, 30 g/L]",
        "the Serum albumin nearest to biopsy is at least 22 g/L and at most 30 g/L",
        "最接近肾活检日的血清白蛋白不低于22 g/L且不高于30 g/L",
    ),
    (
        "finding: alt, take: highest, above: 1.5 x upper_limit",
        "the highest Alanine aminotransferase is above 1.5 x the upper limit of the laboratory",
        "最高的丙氨酸氨基转移酶高于实验室正常上限的1.5倍",
    ),
    (
        "finding: egfr, method: CKD-EPI 2009, below: 0.7 x reading:first_egfr",
        "the latest Estimated glomerular filtration rate (method CKD-EPI 2009) "
        "is below 0.7 x the reading “first_egfr”",
        "最近一次估算肾小球滤过率（方法为CKD-EPI 2009）低于「first_egfr」读数的0.7倍",
    ),
    (
        "finding: hbsag, take: any, is: positive",
        "any Hepatitis B surface antigen is positive or weakly positive",
        "任一次乙肝表面抗原为阳性或弱阳性",
    ),
    (
        "finding: mn_stage, take: every, code: [I, II]",
        "every Membranous nephropathy stage is answered “I” or “II”",
        "每一次膜性肾病分期答为「I」或「II」",
    ),
    (
        "finding: albumin, take: lowest, measured_by: BCP",
        "the lowest Serum albumin was measured by BCP",
        "最低的血清白蛋白测定方法为BCP",
    ),
    ("reading: last_egfr, exists: true", "the reading “last_egfr” is on record", "读数「last_egfr」有记录"),
    (
        "finding: egfr, of_at_least: 2, exists: true, "
        "not_during: {event: acute_kidney_injury, margin: 14 days, flag: AKI}",
        "the latest Estimated glomerular filtration rate (at least 2 readings are needed, not counting "
        "readings within 14 days of Acute kidney injury on record as present (flag AKI)) is on record",
        "最近一次估算肾小球滤过率（至少需2次读数，不计急性肾损伤（现患）前后14天内的读数（标记AKI））有记录",
    ),
    (
        "attested: consent, code: signed",
        "a person attested: “consent” is answered “signed”",
        "医师填写：「consent」答为「signed」",
    ),
    ("attested: ulcer, is: true", "a person attested: “ulcer” is answered yes", "医师填写：「ulcer」答为是"),
    (
        "attested: onset, on_or_before: screening - 6 months",
        "a person attested: “onset” is on or before 6 months before screening",
        "医师填写：「onset」不晚于筛选日前6个月",
    ),
    (
        'attested: fibrosis, above: 30 %, words: {mild: "<25"}',
        "a person attested: “fibrosis” is above 30 % (read “mild” as <25)",
        "医师填写：「fibrosis」高于30 %（「mild」按<25计）",
    ),
    (
        "fall: {from: first_egfr, to: last_egfr, series: CKD-EPI 2009}, at_least: 30 %",
        "a fall from the reading “first_egfr” to the reading “last_egfr” by at least 30 % "
        "(both by CKD-EPI 2009)",
        "自读数「first_egfr」到读数「last_egfr」下降不低于30 %（两次均按CKD-EPI 2009）",
    ),
    (
        "rise: {from: first_egfr, to: last_egfr, same: series}, above: 50 %, "
        'reaching: {above: "90 mL/min/{1.73_m2}"}',
        "a rise from the reading “first_egfr” to the reading “last_egfr” by above 50 % "
        "(both of the same series, and reaching above 90 mL/min/1.73 m2)",
        "自读数「first_egfr」到读数「last_egfr」上升高于50 %（两次属同一系列，且达到高于90 mL/min/1.73 m2）",
    ),
    (
        "repeated: {finding: albumin, above: 25 g/L, readings: 2, "
        "apart: {at_least: 7 days, at_most: 14 days}}",
        "2 readings of Serum albumin, each of which is above 25 g/L "
        "(at least 7 days after the one before, at most 14 days after the one before)",
        "血清白蛋白有2次，每次高于25 g/L（距前一次不少于7天，距前一次不超过14天）",
    ),
    (
        "share: {finding: albumin, above: 25 g/L, passing: {at_least: 70 %}}",
        "of Serum albumin, at least 70 % of the readings pass: is above 25 g/L",
        "血清白蛋白中，达标者占比不低于70 %；达标指高于25 g/L",
    ),
    (
        "age: {at: screening, at_least: 18 years}",
        "age on screening is at least 18 years",
        "筛选日时年龄不低于18岁",
    ),
    ("deceased: {before: screening}", "died before screening", "在筛选日之前死亡"),
    (
        "elapsed: {since: biopsy, until: screening, more_than: 6 months}",
        "from biopsy to screening it is more than 6 months",
        "自肾活检日至筛选日超过6个月",
    ),
    (
        "date: biopsy + 1 day, before: screening",
        "1 day after biopsy is before screening",
        "肾活检日后1天早于筛选日",
    ),
    (
        "event: kidney_biopsy, presence: any, timing: onset, from: screening - 2 years",
        "Kidney biopsy on record as present or past, beginning from 2 years before screening on",
        "肾活检（现患或既往），起始日（自筛选日前2年起）",
    ),
    (
        "event: tacrolimus, category: allergy, having: {type: allergy}, if_none: absent",
        "tacrolimus on record as present (recorded as allergy, with type allergy, no record counts as none)",
        "他克莫司（现患）（记录类别为allergy，带有type allergy，无记录视为无）",
    ),
    (
        "exposure: {class: glucocorticoid}, other_than: prednisone, systemic: true, single_day: true, "
        "kind: [order, dispense], to: biopsy",
        "an order or a dispensing of any drug of class “glucocorticoid” up to biopsy "
        "(systemic, other than prednisone, on a single day)",
        "医嘱或发药：任一「glucocorticoid」类药物（至肾活检日止）（全身用药，泼尼松除外，仅一天）",
    ),
]

ANCHORS: list[tuple[str, str, str]] = [
    ("as_of: true", "the day of the assessment", "评估当日"),
    ("birth: true", "the day of birth", "出生日"),
    ("attested: onset-date", "the day attested as “onset-date”", "医师填写的「onset-date」日期"),
    (
        "event: kidney_biopsy, take: earliest, edge: end",
        "the last day of the earliest Kidney biopsy",
        "最早一次肾活检的末日",
    ),
    (
        'reading: first_egfr, above: "60 mL/min/{1.73_m2}"',
        "the day of the reading “first_egfr” that is above 60 mL/min/1.73 m2",
        "读数「first_egfr」（满足：高于60 mL/min/1.73 m2）的日期",
    ),
    ("anchor: biopsy - 365 days", "365 days before biopsy", "肾活检日前365天"),
    (
        "first_known: [{attested: a}, {anchor: biopsy}]",
        "the first of these that is known: the day attested as “a”; biopsy",
        "以下第一个已知者：医师填写的「a」日期；肾活检日",
    ),
    (
        "earliest_of: [{anchor: screening}, {anchor: biopsy}]",
        "the earliest of those that are known: screening; biopsy",
        "以下已知者中最早者：筛选日；肾活检日",
    ),
]
