"""How each word of the vocabulary sounds: a condition or anchor as written, in English, in Chinese."""

from __future__ import annotations

HEAD = """
id: EXAMPLE-1
version: "1"
title: An example
study: {arms: [{code: TAC, title: one}, {code: TACPRED, title: other}]}
anchors:
  screening: {as_of: true}
  biopsy: {event: kidney_biopsy}
# ANCHOR
windows:
  laboratory: {from: screening - 28 days, to: screening}
readings:
  first_egfr: {finding: egfr, take: earliest}
  last_egfr: {finding: egfr, within: laboratory}
  weight_now: {finding: weight}
  height_now: {finding: height}
visits:
  - {id: W48, name: Week 48, day: 337, from: 300, to: 374}
monitoring: {day_zero: screening}
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
        "share: {finding: systolic_bp, below: '140 mm[Hg]', "
        "beside: {finding: diastolic_bp, below: '80 mm[Hg]'}, passing: {above: 75 %}}",
        "of Systolic blood pressure, above 75 % of the readings pass: is below 140 mmHg, "
        "the Diastolic blood pressure of the same measurement is below 80 mmHg",
        "收缩压中，达标者占比高于75 %；达标指低于140 mmHg，同次测量的舒张压低于80 mmHg",
    ),
    (
        "finding: urine_protein_24h, take: mean, last: 2, at_least: 4 g/d",
        "the mean of Protein in 24-hour urine (only the last 2) is at least 4 g/d",
        "24小时尿蛋白定量的平均值（仅计最近2次）不低于4 g/d",
    ),
    (
        "finding: albumin, take: median, of_at_least: 3, below: 25 g/L",
        "the median of Serum albumin (at least 3 readings are needed) is below 25 g/L",
        "血清白蛋白的中位数（至少需3次读数）低于25 g/L",
    ),
    (
        "rise: {from: first_egfr, to: last_egfr, apart: {at_least: 2 hours, at_most: 48 hours}}, "
        'at_least: "5 mL/min/{1.73_m2}"',
        "a rise from the reading “first_egfr” to the reading “last_egfr” by at least 5 mL/min/1.73 m2 "
        "(at least 2 hours apart and at most 48 hours apart)",
        "自读数「first_egfr」到读数「last_egfr」上升不低于5 mL/min/1.73 m2"
        "（相隔不少于2小时且相隔不超过48小时）",
    ),
    (
        "dose: {drug: cyclophosphamide, take: total, to: biopsy}, at_most: 36 g",
        "the cumulative dose of cyclophosphamide up to biopsy in mg is at most 36 g",
        "环磷酰胺的累积剂量（至肾活检日止）（mg）不高于36 g",
    ),
    (
        "dose: {drug: rituximab, area: {height: height_now, weight: weight_now}}, at_most: 375 mg/m2/d",
        "the latest daily dose of rituximab "
        "(by the body surface from the reading “height_now” and the reading “weight_now”) "
        "in mg/m2/d is at most 375 mg/m2/d",
        "利妥昔单抗的最近日剂量（体表面积取自读数「height_now」与读数「weight_now」）"
        "（mg/m2/d）不高于375 mg/m2/d",
    ),
    (
        "some: {at_least: 2, of: [{sex: male}, {sex: female}, {criterion: OTHER}]}",
        "at least 2 of: male; female; criterion OTHER is met",
        "以下至少2项：男性；女性；标准OTHER符合",
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
    # --- after entry ---
    ("response: complete", "the response at this visit is complete remission", "本次访视的疗效为完全缓解"),
    (
        "response: [partial, none], at: W48",
        "the response at visit W48 is partial remission or no response",
        "访视W48的疗效为部分缓解或未缓解",
    ),
    (
        "response: unknown, at: earlier",
        "the response at an earlier visit is not known",
        "此前任一访视的疗效为未知",
    ),
    (
        "dose: {drug: tacrolimus, take: highest, from: biopsy}, above: 4 mg/d",
        "the highest daily dose of tacrolimus from biopsy on in mg/d is above 4 mg/d",
        "他克莫司的最高日剂量（自肾活检日起）（mg/d）高于4 mg/d",
    ),
    (
        "dose: {drug: tacrolimus, take: first, weight: weight_now}, "
        "target: {per_kg: 0.05 mg/kg/d, at_most: 5 mg/d, tolerance: 0.5 mg/d}",
        "the first daily dose of tacrolimus (by the weight from the reading “weight_now”) in mg/d is on "
        "target: 0.05 mg/kg/d (at most 5 mg/d, give or take 0.5 mg/d)",
        "他克莫司的首个日剂量（体重取读数「weight_now」）（mg/d）"
        "符合目标：0.05 mg/kg/d（最多5 mg/d，允许偏差0.5 mg/d）",
    ),
    (
        "dose_change: {drug: tacrolimus, direction: reduction, from: biopsy}",
        "the daily dose of tacrolimus was reduced from biopsy on",
        "他克莫司日剂量曾减少（自肾活检日起）",
    ),
    (
        "gap: {drug: tacrolimus, from: biopsy, hold: {ladder: X8, state: S3}}, above: 14 days",
        "the longest time without tacrolimus from biopsy on is above 14 days "
        "(not counting days while ladder X8 stands in “S3”)",
        "未用他克莫司的最长连续时间（自肾活检日起）高于14天（不计阶梯X8处于「S3」期间）",
    ),
    ("ladder: X8, state: [S3, S4]", "ladder X8 stands in “S3” or “S4”", "阶梯X8处于「S3」或「S4」"),
    ("arm: TAC", "assigned to arm “TAC”", "分入「TAC」组"),
    (
        "eligibility: ineligible, at: biopsy",
        "by what is known now, ineligible as of biopsy",
        "按目前所知，截至肾活检日为不合格",
    ),
    (
        "finding: tacrolimus_trough, above: 10 ng/mL, timed: {after: tacrolimus, "
        "between: [11 hours, 13 hours], approximately: [10 hours, 14 hours], "
        "named: tacrolimus_trough, steady: 3 days}",
        "the latest Tacrolimus trough level (counting as trough only 11 to 13 hours after the last intake of "
        "tacrolimus (10 to 14 hours approximately, an intake more than 24 hours before is not the last one, "
        "then only Tacrolimus trough level, dose unchanged for 3 days)) is above 10 ng/mL",
        "最近一次他克莫司谷浓度（仅末次服用他克莫司后11至13小时计为谷浓度（10至14小时为近似，"
        "采样前超过24小时的服药不算末次，此时仅计他克莫司谷浓度，剂量须已3天不变））高于10 ng/mL",
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
        "exposure: {drug: rituximab}, take: earliest, from: biopsy",
        "the first day of the earliest exposure to rituximab from biopsy on",
        "最早一次使用利妥昔单抗（自肾活检日起）的首日",
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
