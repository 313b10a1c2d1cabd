"""The words of cards, in the languages there are."""

from __future__ import annotations

from typing import Literal

Language = Literal["en", "zh"]

WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "eligible": "{study}: may be eligible; every counted criterion holds on record",
        "undetermined": "{study}: may be eligible; {open} open",
        "questions.1": "1 question",
        "questions": "{n} questions",
        "unknown": "{study}: eligibility could not be checked, part of the record did not come",
        "on_study": "{study}: on the study; {safety} safety, {exits} exit criteria to look at",
        "on_study_partly": "{study}: on the study; part of the record did not come",
        "breaks": "{study}: {drug} would break {rules}",
        "order_unknown": "{study}: {drug}: not known whether {rules} is kept",
        "order_unread": "{study}: {drug}: not known whether it is allowed",
        "order_unmapped": "{study}: {drug}: this drug is not mapped, so it was not checked",
        "why_unnamed": "the medication of this order is not recognised",
        "why_unmapped": "no table of this site knows the drug: whether it is allowed could not be checked",
        "why_dose": "its daily dose cannot be read: no frequency, no amount, or a unit that is no mass",
        "order_standing": "{study}: not known whether the patient is on the study; the order was not checked",
        "this_order": "this order",
        "why": "Why",
        "open": "What is missing",
        "needs": "needs",
        "more": "and {n} more",
        "lacking": "What did not come, and is therefore unknown",
        "safety": "Safety",
        "exits": "Exit criteria that seem to be met",
        "overdue": "Overdue",
        "review": "A person has to look before any of this is accepted.",
        "disclaimer": "From the record as of {day}. No medical device: it pre-screens, a person decides.",
        "open_patient": "Open in the trial worklist",
    },
    "zh": {
        "eligible": "{study}：可能符合入组条件；各项计入标准据记录均成立",
        "undetermined": "{study}：可能符合入组条件；尚有{open}",
        "questions.1": "1 项待明确",
        "questions": "{n} 项待明确",
        "unknown": "{study}：部分记录未取得，无法核对入组条件",
        "on_study": "{study}：研究受试者；安全性 {safety} 项、退出标准 {exits} 项需查看",
        "on_study_partly": "{study}：研究受试者；部分记录未取得",
        "breaks": "{study}：{drug} 将违反 {rules}",
        "order_unknown": "{study}：{drug}：是否符合 {rules} 未知",
        "order_unread": "{study}：{drug}：是否允许未知",
        "order_unmapped": "{study}：{drug}：该药品未映射，未能核对",
        "why_unnamed": "无法识别此医嘱的药品",
        "why_unmapped": "本中心的对照表中没有该药品，无法核对方案是否允许",
        "why_dose": "无法得出日剂量：缺少频次或用量，或单位不是质量单位",
        "order_standing": "{study}：患者是否在研未知，医嘱未核对",
        "this_order": "此医嘱",
        "why": "理由",
        "open": "缺少的信息",
        "needs": "需要",
        "more": "另有 {n} 项",
        "lacking": "未取得（因此未知）",
        "safety": "安全性",
        "exits": "似已满足的退出标准",
        "overdue": "逾期",
        "review": "须由人员核对后方可采用。",
        "disclaimer": "依据截至 {day} 的记录。非医疗器械：仅供预筛，由人员决定。",
        "open_patient": "在研究工作列表中打开",
    },
}


def language_of(header: str, default: Language) -> Language:
    """What ``Accept-Language`` asks for first, if we have it."""
    for one in header.split(","):
        tag = one.partition(";")[0].strip().lower()
        if tag.startswith("zh"):
            return "zh"
        if tag.startswith("en"):
            return "en"
    return default
