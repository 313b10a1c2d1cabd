"""What the demo hospital's laboratory, wards and pharmacy call things.

LOINC, ATC and UCUM codes are those the mapping tables verify; local codes and Chinese names are this
hospital's own and reach the adapter only through ``mappings/sites/demo/codes.csv``.
"""

from __future__ import annotations

from typing import NamedTuple


class Item(NamedTuple):
    """One orderable item: local code, LOINC, names, unit as printed, UCUM code, printed limits."""

    local: str
    loinc: str
    name: str
    display: str = ""
    unit: str = ""
    ucum: str = ""
    low: str = ""
    high: str = ""
    category: str = "laboratory"


CATALOGUE: dict[str, Item] = {
    "urine_protein_24h": Item(
        "UPRO24", "2889-4", "24小时尿蛋白定量", "Protein [Mass/time] in 24 hour Urine", "g/24h", "g/(24.h)"
    ),
    "urine_protein_concentration_24h": Item(
        "UPC24", "21482-5", "24小时尿蛋白浓度", "Protein [Mass/volume] in 24 hour Urine", "mg/dL", "mg/dL"
    ),
    "urine_volume_24h": Item("UVOL24", "3167-4", "24小时尿量", "", "mL", "mL"),
    "upcr": Item("UPCR", "2890-2", "尿蛋白肌酐比", "", "mg/g", "mg/g", "", "200"),
    "urine_protein_dipstick": Item(
        "UPRO", "20454-5", "尿蛋白定性", "Protein [Presence] in Urine by Test strip"
    ),
    "albumin": Item(
        "ALB", "1751-7", "白蛋白", "Albumin [Mass/volume] in Serum or Plasma", "g/L", "g/L", "40", "55"
    ),
    "ascites_albumin": Item("ALBF", "1749-1", "腹水白蛋白", "", "g/L", "g/L"),
    "pla2r_antibody": Item("PLA2R", "73737-9", "抗磷脂酶A2受体抗体IgG", "", "RU/mL", "{RU}/mL", "", "20"),
    "creatinine": Item(
        "CREA",
        "14682-9",
        "肌酐",
        "Creatinine [Moles/volume] in Serum or Plasma",
        "umol/L",
        "umol/L",
        "57",
        "97",
    ),
    "egfr": Item("EGFR", "62238-1", "估算肾小球滤过率(CKD-EPI)", "", "mL/min/1.73m2", "mL/min/{1.73_m2}"),
    "egfr_2021": Item(
        "EGFR21", "98979-8", "估算肾小球滤过率(CKD-EPI 2021)", "", "mL/min/1.73m2", "mL/min/{1.73_m2}"
    ),
    "tacrolimus_trough": Item("TACC0", "33929-1", "他克莫司谷浓度", "", "ng/mL", "ng/mL", "5", "10"),
    "tacrolimus_level": Item(
        "TAC",
        "74096-9",
        "他克莫司血药浓度",
        "Tacrolimus [Mass/volume] in Blood by Immunoassay",
        "ng/mL",
        "ng/mL",
    ),
    "alt": Item("ALT", "1742-6", "丙氨酸氨基转移酶", "", "U/L", "U/L", "9", "40"),
    "ast": Item("AST", "1920-8", "天门冬氨酸氨基转移酶", "", "U/L", "U/L", "15", "40"),
    "bilirubin_total": Item("TBIL", "14631-6", "总胆红素", "", "umol/L", "umol/L", "3", "21"),
    "glucose": Item(
        "GLU",
        "14771-0",
        "空腹血糖",
        "Fasting glucose [Moles/volume] in Serum or Plasma",
        "mmol/L",
        "mmol/L",
        "3.9",
        "6.1",
    ),
    "hbsag": Item("HBSAG", "5196-1", "乙肝表面抗原"),
    "hbsab": Item("HBSAB", "10900-9", "乙肝表面抗体"),
    "hbeag": Item("HBEAG", "13954-3", "乙肝e抗原"),
    "hbeab": Item("HBEAB", "13953-5", "乙肝e抗体"),
    "hbcab": Item("HBCAB", "13952-7", "乙肝核心抗体"),
    "hcv_antibody": Item("HCVAB", "13955-0", "丙肝抗体"),
    "hcv_rna": Item("HCVRNA", "11011-4", "丙肝病毒RNA定量", "", "IU/mL", "[IU]/mL"),
    "hiv_screen": Item("HIVAGAB", "56888-1", "HIV抗原抗体"),
    "syphilis_nontreponemal": Item("RPR", "20507-0", "梅毒RPR"),
    "syphilis_treponemal": Item("TPPA", "24312-1", "梅毒TPPA"),
    "igra": Item("IGRA", "71773-6", "结核感染T细胞γ干扰素释放试验"),
    "cmv_dna": Item("CMVDNA", "5000-5", "巨细胞病毒DNA"),
    "hcg": Item("HCG", "19080-1", "人绒毛膜促性腺激素", "", "mIU/mL", "m[IU]/mL", "", "5"),
    "weight": Item("WT", "29463-7", "体重", "Body weight", "kg", "kg", category="vital-signs"),
    "height": Item("HT", "8302-2", "身高", "Body height", "cm", "cm", category="vital-signs"),
    "interstitial_fibrosis_percent": Item("ifta-percent", "", "间质纤维化面积", "", "%", "%"),
    "mn_stage": Item("mn-stage", "", "膜性肾病分期"),
    "cholesterol": Item("CHOL", "14647-2", "总胆固醇", "", "mmol/L", "mmol/L", "2.8", "5.7"),
    "triglyceride": Item("TG", "14927-8", "甘油三酯", "", "mmol/L", "mmol/L", "0.5", "1.7"),
    "crp": Item("CRP", "1988-5", "C反应蛋白", "", "mg/L", "mg/L", "", "8"),
    "hba1c": Item("HBA1C", "4548-4", "糖化血红蛋白", "", "%", "%", "4", "6"),
    "leukocytes": Item("WBC", "6690-2", "白细胞计数", "", "10*9/L", "10*9/L", "3.5", "9.5"),
    "haemoglobin": Item("HGB", "718-7", "血红蛋白", "", "g/L", "g/L", "115", "175"),
    "platelets": Item("PLT", "777-3", "血小板计数", "", "10*9/L", "10*9/L", "125", "350"),
    "potassium": Item("K", "2823-3", "钾", "", "mmol/L", "mmol/L", "3.5", "5.3"),
    "sodium": Item("NA", "2951-2", "钠", "", "mmol/L", "mmol/L", "137", "147"),
    "urea": Item("UREA", "22664-7", "尿素", "", "mmol/L", "mmol/L", "3.1", "8.0"),
    "urate": Item("UA", "14933-6", "尿酸", "", "umol/L", "umol/L", "208", "428"),
    "unmapped_24h_protein": Item("NDB24X", "", "24h尿蛋白(外送新法)", "", "g/24h", "g/(24.h)"),
    "unmapped_other": Item("KL6NEW", "", "涎液化糖链抗原", "", "U/mL", "U/mL"),
}


class Drug(NamedTuple):
    """One pharmacy item: local code, ATC, name as prescribed, form, route (SNOMED code, text)."""

    local: str
    atc: str
    name: str
    form: str
    route: tuple[str, str]


ORAL, INTRAVENOUS = ("26643006", "口服"), ("47625008", "静脉注射")
CUTANEOUS, OPHTHALMIC = ("6064005", "外用"), ("54485002", "滴眼")

DRUGS: dict[str, Drug] = {
    "tacrolimus": Drug("Y0101", "L04AD02", "他克莫司胶囊", "胶囊", ORAL),
    "tacrolimus_ointment": Drug("Y0102", "D11AH01", "他克莫司软膏", "软膏", CUTANEOUS),
    "ciclosporin_drops": Drug("Y0103", "S01XA18", "环孢素滴眼液", "滴眼液", OPHTHALMIC),
    "ciclosporin": Drug("Y0104", "L04AD01", "环孢素软胶囊", "软胶囊", ORAL),
    "prednisone": Drug("Y0201", "H02AB07", "醋酸泼尼松片", "片剂", ORAL),
    "dexamethasone": Drug("Y0202", "H02AB02", "地塞米松磷酸钠注射液", "注射液", INTRAVENOUS),
    "cyclophosphamide": Drug("Y0203", "L01AA01", "注射用环磷酰胺", "注射剂", INTRAVENOUS),
    "rituximab": Drug("Y0204", "L01XC02", "利妥昔单抗注射液", "注射液", INTRAVENOUS),
    "tripterygium": Drug("Y0301", "", "雷公藤多苷片", "片剂", ORAL),
    "mycophenolate": Drug("Y0205", "L04AA06", "吗替麦考酚酯胶囊", "胶囊", ORAL),
    "valsartan": Drug("Y0401", "C09CA03", "缬沙坦胶囊", "胶囊", ORAL),
    "amlodipine": Drug("Y0402", "C08CA01", "氨氯地平片", "片剂", ORAL),
    "atorvastatin": Drug("Y0403", "C10AA05", "阿托伐他汀钙片", "片剂", ORAL),
    "metformin": Drug("Y0404", "A10BA02", "二甲双胍片", "片剂", ORAL),
    "omeprazole": Drug("Y0405", "A02BC01", "奥美拉唑肠溶胶囊", "胶囊", ORAL),
    "furosemide": Drug("Y0406", "C03CA01", "呋塞米片", "片剂", ORAL),
    "glycyrrhizin": Drug("Y0407", "A05BA08", "复方甘草酸苷片", "片剂", ORAL),
    "wuzhi": Drug("Y0408", "", "五酯胶囊", "胶囊", ORAL),
    "hydroxychloroquine": Drug("Y0409", "P01BA02", "硫酸羟氯喹片", "片剂", ORAL),
}
