"""The protocol as FHIR R4 resources: ResearchStudy, Group, PlanDefinition and Questionnaire.

They say what is planned, never who takes part. Sources: FHIR R4 ResearchStudy (``enrollment`` is a Group of
whom the study is for), Group (``characteristic.exclude``), PlanDefinition (type ``clinical-protocol``).
Rules stand in them as words: FHIR has no language for a three-valued rule with evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from adapter.model.nodes import descend
from adapter.model.protocol import Criterion, DueRule, Planned, Protocol, Visit
from adapter.model.rules import Attested, AttestedDay
from adapter.model.selection import Bounds, Codes, DayTest, ReadingTest
from adapter.protocol.render.moments import say_moment
from adapter.protocol.render.sentence import say_condition
from adapter.protocol.render.voice import Voice

Resource = dict[str, Any]
BASE = "https://trial-fhir-adapter.org/fhir"
REGISTRY = "https://clinicaltrials.gov"
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_PLAN_TYPE = "http://terminology.hl7.org/CodeSystem/plan-definition-type"


def render_fhir(
    protocol: Protocol, voice: Voice, questions: Mapping[str, str] | None = None
) -> dict[str, Resource]:
    """File name -> resource. ``questions`` gives the texts of linkIds, where they are known."""
    found = [_study(protocol), _group(protocol), _plan(protocol, voice)]
    if protocol.questionnaire:
        found.append(_questionnaire(protocol, questions or {}))
    return {f"{one['resourceType']}-{one['id']}.json": one for one in found}


def _said(name: str, english: str, chinese: str) -> Resource:
    """A text with its Chinese translation, as the translation extension has it."""
    if not chinese:
        return {name: english}
    parts = [{"url": "lang", "valueCode": "zh-CN"}, {"url": "content", "valueString": chinese}]
    return {name: english, f"_{name}": {"extension": [{"url": _TRANSLATION, "extension": parts}]}}


def _study(protocol: Protocol) -> Resource:
    study: Resource = {
        "resourceType": "ResearchStudy",
        "id": protocol.id,
        "identifier": [{"system": REGISTRY, "value": protocol.study.identifier or protocol.id}],
        **_said("title", protocol.title, protocol.title_zh),
        "protocol": [{"reference": f"PlanDefinition/{protocol.id}"}],
        "status": "active",
        "enrollment": [{"reference": f"Group/{_group_id(protocol)}"}],
    }
    if protocol.study.arms:
        study["arm"] = [{"name": arm.code, "description": arm.title} for arm in protocol.study.arms]
    if protocol.plan.endpoints:
        study["objective"] = [{"name": one.text} for one in protocol.plan.endpoints]
    return study


def _group_id(protocol: Protocol) -> str:
    return f"{protocol.id}-eligible"


def _group(protocol: Protocol) -> Resource:
    """Whom the study is for: one characteristic for each criterion that counts."""
    counted = (protocol.criterion(name) for name in protocol.counts)
    group: Resource = {
        "resourceType": "Group",
        "id": _group_id(protocol),
        "type": "person",
        "actual": False,
        "name": f"Eligible for {protocol.id}",
        "characteristic": [_characteristic(protocol, one) for one in counted],
    }
    if protocol.study.enrolment is not None:
        group["quantity"] = protocol.study.enrolment
    return group


def _characteristic(protocol: Protocol, criterion: Criterion) -> Resource:
    return {
        "code": {
            "coding": [_coding(protocol, criterion.id)],
            **_said("text", criterion.text, criterion.text_zh),
        },
        "valueBoolean": True,
        "exclude": criterion.kind == "exclusion",
    }


def _coding(protocol: Protocol, criterion: str) -> Resource:
    return {"system": f"{BASE}/CodeSystem/{protocol.id}-criteria", "code": criterion}


def _plan(protocol: Protocol, voice: Voice) -> Resource:
    plan: Resource = {
        "resourceType": "PlanDefinition",
        "id": protocol.id,
        "url": f"{BASE}/PlanDefinition/{protocol.id}",
        "identifier": [{"system": REGISTRY, "value": protocol.study.identifier or protocol.id}],
        "version": protocol.version,
        **_said("title", protocol.title, protocol.title_zh),
        "type": {"coding": [{"system": _PLAN_TYPE, "code": "clinical-protocol"}]},
        "status": "draft",
        "description": "Visits and what is due, in days from the day of entry where nothing else is said. "
        "Not reviewed by a clinician.",
    }
    if protocol.plan.endpoints:
        plan["goal"] = [
            {"id": _anchor(one.id), "description": {"text": one.text}} for one in protocol.plan.endpoints
        ]
    actions = [
        *(_visit(visit) for visit in protocol.visits),
        *(_due(rule, voice) for rule in protocol.plan.due),
    ]
    return {**plan, "action": actions} if actions else plan


def _anchor(name: str) -> str:
    """An element id may not carry an underscore in every reader; a hyphen is safe."""
    return name.replace("_", "-")


def _visit(visit: Visit) -> Resource:
    return {
        "id": _anchor(visit.id),
        **_said("title", visit.name, visit.name_zh),
        **({"description": visit.source} if visit.source else {}),
        **_timing(visit),
    }


def _due(rule: DueRule, voice: Voice) -> Resource:
    said = [f"counted from {say_moment(rule.after, voice)}"] if rule.after is not None else []
    timing = _timing(rule)
    said += [text] if (text := timing.pop("textEquivalent", "")) else []
    said += [f"if {say_condition(rule.when, voice)}"] if rule.when is not None else []
    return {
        "id": _anchor(rule.id),
        **_said("title", rule.what, rule.what_zh),
        **({"description": rule.source} if rule.source else {}),
        **({"textEquivalent": "; ".join(said)} if said else {}),
        **timing,
    }


def _timing(planned: Planned) -> Resource:
    """The window in days or in months; one of months and days has no Quantity and stays words."""
    ends = (planned.first, planned.last)
    for unit, code, counts in (
        ("days", "d", [end.days for end in ends if not end.months]),
        ("months", "mo", [end.months for end in ends if not end.days]),
    ):
        if len(counts) == len(ends):
            low, high = (
                {"value": count, "unit": unit, "system": "http://unitsofmeasure.org", "code": code}
                for count in counts
            )
            return {"timingRange": {"low": low, "high": high}}
    return {"textEquivalent": f"from {planned.first} to {planned.last} after the day of entry"}


def _questionnaire(protocol: Protocol, questions: Mapping[str, str]) -> Resource:
    """One question for each linkId that a rule or an anchor asks; none is required: empty is unknown."""
    url, _, version = protocol.questionnaire.partition("|")
    return {
        "resourceType": "Questionnaire",
        "id": url.rsplit("/", 1)[-1],
        "url": url,
        **({"version": version} if version else {}),
        "title": f"What only a person can say: attestation for {protocol.id}",
        "status": "draft",
        "subjectType": ["Patient"],
        "item": [_item(link, tests, questions) for link, tests in asked(protocol).items()],
    }


def asked(protocol: Protocol) -> dict[str, tuple[ReadingTest | None, ...]]:
    """linkId -> the tests made of its answer; ``None`` where the answer is a day."""
    found: dict[str, list[ReadingTest | None]] = {}
    for link, test in _asking(protocol):
        found.setdefault(link, []).append(test)
    return {link: tuple(found[link]) for link in sorted(found)}


def _asking(protocol: Protocol) -> Iterator[tuple[str, ReadingTest | None]]:
    for node in descend(protocol):
        if isinstance(node, Attested):
            yield node.link, node.test
        elif isinstance(node, AttestedDay):
            yield node.link, None


def _item(link: str, tests: tuple[ReadingTest | None, ...], questions: Mapping[str, str]) -> Resource:
    kind = item_type(tests)
    item: Resource = {"linkId": link, "text": questions.get(link) or link.replace("-", " "), "type": kind}
    if kind == "choice":
        item["answerOption"] = [{"valueCoding": {"code": code}} for code in _codes(tests)]
    return item


def item_type(tests: tuple[ReadingTest | None, ...]) -> str:
    """The type of answer that all tests of a question can be made of.

    A number that is also asked for by words ("mild") is a string.
    """
    codes = _codes(tests)
    if any(test is None or isinstance(test, DayTest) for test in tests):
        return "date"
    if codes and set(codes) <= {"true", "false"}:
        return "boolean"
    numbers = [test for test in tests if isinstance(test, Bounds)]
    if numbers:
        return "string" if codes or any(test.words for test in numbers) else "decimal"
    return "choice" if codes else "string"


def _codes(tests: tuple[ReadingTest | None, ...]) -> list[str]:
    return sorted({code for test in tests if isinstance(test, Codes) for code in test.codes})
