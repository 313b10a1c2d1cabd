"""Chinese (simplified): headings and standing sentences of the page, by the same keys as the English ones."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

HEADINGS: Mapping[str, str] = MappingProxyType(
    {
        "generated": "本页由 `adapter render --as page --lang zh` 自 `{file}` 生成；请修改该文件，勿改本页。",
        "unreviewed": "本页内容尚未经临床医师或申办方审核。",
        "three": "每条规则的结论为符合、不符合或未知。无记录即未知，绝不等于「否」。"
        "排除标准的「符合」指应予排除。"
        "同一句的其他读法一并评估，有差异则显示，但不作判定。",
        "version": "版本",
        "source": "出处",
        "enrolment": "计划入组人数",
        "arm": "组别",
        "overall": "总体结论",
        "overall_rule": "任一计入的入选标准不符合或任一计入的排除标准符合，则不合格；"
        "否则任一未知则未定；否则合格。"
        "计入：{ids}。",
        "candidates": "纳入筛查者",
        "candidates_rule": "有下列任一记录者：{names}。",
        "unless": "确知下列成立者除外：",
        "inclusion": "入选标准",
        "exclusion": "排除标准",
        "endpoints": "终点",
        "exits": "退出标准",
        "doses": "剂量规则",
        "safety": "安全性",
        "deviations": "方案偏离",
        "responses": "访视时的疗效",
        "visits": "访视",
        "due": "待办事项",
        "ladders": "剂量阶梯",
        "rule": "本规则。",
        "flags": "与结论一并显示的标记：",
        "other_readings": "该句的其他读法：",
        "settles": "若未知：",
        "pending": "未知时列为待定。",
        "severity": "严重程度：{severity}。",
        "at_visit": "在访视{visit}判定。",
        "cases": "验证该规则的病例：",
        "no_cases": "尚无病例涉及。",
        "case": "病例",
        "as_of": "截至",
        "expected": "应得",
        "because": "理由",
        "days": "规则所依据的日期",
        "windows": "时间窗",
        "readings": "规则所引用的读数",
        "questions": "仅能由人回答的问题",
        "drugs": "计入的药物",
        "name": "名称",
        "meaning": "含义",
        "question": "问题",
        "used_by": "用于",
        "drug_group": "类别",
        "members": "所含药物",
        "visit": "访视",
        "day": "天",
        "window": "窗口",
        "from_day_zero": "自{anchor}起算的天数。",
        "reading": "读数",
        "counted_from": "起算日（非入组日时）",
        "until": "时间窗始于{moment}之后的事项不再列入。",
        "done_when": "完成条件",
        "severity.low": "低",
        "severity.medium": "中",
        "severity.high": "高",
        "what": "事项",
        "when": "条件",
    }
)
