"""The study's Questionnaire as a form, and the form's answers as items of a QuestionnaireResponse.

A question left alone gives no item: it is not attested, and stays unknown. Source:
https://hl7.org/fhir/R4/questionnaire.html; texts in other languages by the translation extension.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

import msgspec

from adapter.config import product_folder
from adapter.errors import ConfigError
from adapter.model.protocol import Protocol

Language = Literal["en", "zh"]
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?")
_LONGEST = 200
Json = dict[str, Any]


class Choice(msgspec.Struct, frozen=True):
    code: str
    text: str
    system: str


class Question(msgspec.Struct, frozen=True):
    """``kind`` is the item's type (boolean, date, dateTime, choice, string, integer, decimal); ``criteria``
    are those it belongs to."""

    link: str
    text: str
    kind: str
    criteria: tuple[str, ...]
    choices: tuple[Choice, ...] = ()
    group: str = ""


class Form(msgspec.Struct, frozen=True):
    canonical: str
    title: str
    questions: tuple[Question, ...]


def form(protocol: Protocol, language: Language) -> Form | None:
    """The protocol's questionnaire in a language; None if it names none that we have."""
    held = _held().get(protocol.questionnaire)
    if held is None:
        return None
    canonical = (
        f"{protocol.questionnaire}|{held['version']}" if held.get("version") else protocol.questionnaire
    )
    title = _said(held, "title", language)
    return Form(canonical, title, tuple(_questions(held.get("item", ()), language)))


def answers(shown: Form, given: Mapping[str, str]) -> tuple[Json, ...]:
    """Items of a response, by the form's own types. ``given`` is by linkId; what is empty is left out.

    Raises :class:`ConfigError` naming the question whose answer cannot be read, never the answer.
    """
    items = []
    for question in shown.questions:
        text = given.get(question.link, "").strip()
        if text:
            items.append(
                {"linkId": question.link, "text": question.text, "answer": [_answer(question, text)]}
            )
    return tuple(items)


def said(item: Json, shown: Form, language: Language) -> str:
    """An answer of a kept response in words."""
    question = next((one for one in shown.questions if one.link == item.get("linkId")), None)
    [answer] = item.get("answer") or [{}]
    coding = answer.get("valueCoding")
    if coding is not None:
        names = {one.code: one.text for one in (question.choices if question else ())}
        return names.get(coding.get("code", ""), str(coding.get("code", "")))
    value = next(iter(answer.values()), "")
    if isinstance(value, bool):
        return {"en": ("no", "yes"), "zh": ("否", "是")}[language][value]
    return str(value)


def _answer(question: Question, text: str) -> Json:
    wrong = ConfigError(f"the answer to {question.link!r} cannot be read", where="form", fix="correct it")
    match question.kind:
        case "boolean":
            if text in ("true", "false"):
                return {"valueBoolean": text == "true"}
        case "date":
            if _DATE.fullmatch(text):
                return {"valueDate": text}
        case "dateTime":
            if _INSTANT.fullmatch(text):
                return {"valueDateTime": text[:10]}
        case "choice":
            for one in question.choices:
                if one.code == text:
                    return {"valueCoding": {"system": one.system, "code": one.code}}
        case "integer" | "decimal":
            if re.fullmatch(r"-?\d{1,9}(\.\d{1,6})?", text):
                name = "valueInteger" if question.kind == "integer" else "valueDecimal"
                return {name: json.loads(text)}
        case _:
            if len(text) <= _LONGEST and text.isprintable():
                return {"valueString": text}
    raise wrong


@cache
def _held() -> Mapping[str, Json]:
    """Questionnaires that come with the product, by url."""
    files = sorted(product_folder("fhir_profiles").glob("Questionnaire-*.json"))
    read = (json.loads(path.read_text(encoding="utf-8")) for path in files)
    return {str(one["url"]): one for one in read}


@cache
def _value_sets() -> Mapping[str, tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for path in sorted(product_folder("fhir_profiles").glob("ValueSet-*.json")):
        held = json.loads(path.read_text(encoding="utf-8"))
        for included in held.get("compose", {}).get("include", ()):
            codes = tuple(str(one["code"]) for one in included.get("concept", ()))
            if codes:
                found[str(held["url"])] = str(included.get("system", "")), codes
    return found


@cache
def _concepts() -> Mapping[tuple[str, str], Json]:
    found: dict[tuple[str, str], Json] = {}
    for path in sorted(product_folder("fhir_profiles").glob("CodeSystem-*.json")):
        held = json.loads(path.read_text(encoding="utf-8"))
        found |= {(str(held["url"]), str(one["code"])): one for one in held.get("concept", ())}
    return found


def _questions(items: Any, language: Language, group: str = "") -> Iterator[Question]:
    for item in items:
        if item.get("type") in ("group", "display"):
            yield from _questions(item.get("item", ()), language, _said(item, "text", language))
            continue
        yield Question(
            link=str(item["linkId"]),
            text=_said(item, "text", language),
            kind=str(item["type"]),
            criteria=tuple(str(one["code"]) for one in item.get("code", ()) if one.get("code")),
            choices=tuple(_choices(item, language)),
            group=group,
        )
        yield from _questions(item.get("item", ()), language, group)


def _choices(item: Json, language: Language) -> Iterator[Choice]:
    options = [one["valueCoding"] for one in item.get("answerOption", ()) if "valueCoding" in one]
    system, codes = _value_sets().get(str(item.get("answerValueSet", "")).partition("|")[0], ("", ()))
    options += [{"system": system, "code": code} for code in codes]
    for one in options:
        concept = _concepts().get((str(one.get("system", "")), str(one["code"])), one)
        text = _said(concept, "display", language) or str(one["code"])
        yield Choice(str(one["code"]), text, str(one.get("system", "")))


def _said(element: Json, name: str, language: Language) -> str:
    """A text in the language, else as it is: the translation extension, or designations of a code."""
    if language == "zh":
        for extension in element.get(f"_{name}", {}).get("extension", ()):
            if extension.get("url") == _TRANSLATION:
                parts = {part.get("url"): part for part in extension.get("extension", ())}
                if str(parts.get("lang", {}).get("valueCode", "")).startswith("zh"):
                    return str(parts.get("content", {}).get("valueString", ""))
        for other in element.get("designation", ()):
            if str(other.get("language", "")).startswith("zh"):
                return str(other.get("value", ""))
    return str(element.get(name, ""))
