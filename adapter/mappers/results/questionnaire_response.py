"""QuestionnaireResponse to findings: one per answer, with the canonical as system and the linkId as code.

Only ``completed`` and ``amended`` responses say anything; an item without an answer says nothing and gives no
row. Which of several responses decides is the protocol's matter. Words of free text longer than a result are
not kept (flag TEXT_OMITTED). Source: https://hl7.org/fhir/R4/questionnaireresponse.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from adapter.mappers import r4
from adapter.mappers.context import NOT_RELEVANT, Context, Mapped, issue, refused, source_of
from adapter.mappers.flags import flags_of
from adapter.mappers.results.text import normalise, read_text
from adapter.mappers.results.values import quantity
from adapter.model.dates import PartialDate
from adapter.model.facts import Coding, Finding, Source
from adapter.model.issue import Issue
from adapter.model.quantity import Interval
from adapter.model.resource import RawResource

_EXCLUDED = {
    "completed": "",
    "amended": "",
    "in-progress": "IN_PROGRESS",
    "stopped": "IN_PROGRESS",
    "entered-in-error": "ENTERED_IN_ERROR",
}
_LONGEST_TEXT = 80
_DEEPEST = 20


class ResponseAnswer(r4.Element, frozen=True, kw_only=True):
    valueBoolean: bool | None = None
    valueDecimal: Decimal | None = None
    valueInteger: int | None = None
    valueDate: str | None = None
    valueDateTime: str | None = None
    valueTime: str | None = None
    valueString: str | None = None
    valueUri: str | None = None
    valueCoding: r4.Coding | None = None
    valueQuantity: r4.Quantity | None = None
    item: tuple[ResponseItem, ...] = ()


class ResponseItem(r4.Element, frozen=True, kw_only=True):
    linkId: str | None = None
    answer: tuple[ResponseAnswer, ...] = ()
    item: tuple[ResponseItem, ...] = ()


class QuestionnaireResponse(r4.Resource, frozen=True, kw_only=True):
    questionnaire: str | None = None
    status: str | None = None
    subject: r4.Reference | None = None
    authored: str | None = None
    author: r4.Reference | None = None
    item: tuple[ResponseItem, ...] = ()


def map_questionnaire_response(resource: QuestionnaireResponse, raw: RawResource, context: Context) -> Mapped:
    """One finding per answer; a response to no named questionnaire cannot be understood and is refused."""
    subject = context.subject(resource.subject)
    if not subject:
        return refused("NO_SUBJECT", resource, raw, path="QuestionnaireResponse.subject")
    canonical = (resource.questionnaire or "").partition("|")[0]
    if not canonical:
        return refused("NO_QUESTIONNAIRE", resource, raw, severity="warning", subject=subject)
    issues: list[Issue] = []
    authored = context.date(resource.authored)
    if resource.authored and authored is None:
        issues.append(issue("BAD_DATE", resource, raw, path="authored", subject=subject))
    whole = Finding(
        subject=subject,
        concept="",
        source=source_of(resource, raw),
        category="questionnaire",
        code=Coding(canonical),
        start=authored,
        status=resource.status or "",
        flags=flags_of(dates=(authored,)),
        excluded=_EXCLUDED.get(resource.status or "", "STATUS_UNKNOWN") or ("" if authored else "NO_DATE"),
    )
    rows: list[Finding] = []
    for link_id, path, answer in _answers(resource.item, "", 0):
        row = _row(answer, whole, context)
        if row is None:
            issues.append(issue("ANSWER_UNREADABLE", resource, raw, path=path, subject=subject))
            continue
        source = Source(whole.source.reference, whole.source.version, path, whole.source.sha256)
        rows.append(msgspec.structs.replace(row, code=Coding(canonical, link_id), source=source))
    if not rows and not issues:
        return NOT_RELEVANT
    if not rows:
        return Mapped(issues=(*issues, _nothing_read(resource, raw, subject)))
    return Mapped(findings=tuple(rows), issues=tuple(issues))


def _answers(
    items: tuple[ResponseItem, ...], prefix: str, depth: int
) -> Iterator[tuple[str, str, ResponseAnswer]]:
    """Every answer with its linkId and path, items within items and within answers included."""
    if depth > _DEEPEST:
        return
    for position, item in enumerate(items):
        path = f"{prefix}item[{position}]"
        for number, answer in enumerate(item.answer):
            at = f"{path}.answer[{number}]"
            if not _is_empty(answer):
                yield item.linkId or "", at, answer
            yield from _answers(answer.item, f"{at}.", depth + 1)
        yield from _answers(item.item, f"{path}.", depth + 1)


def _is_empty(answer: ResponseAnswer) -> bool:
    sent = (
        answer.valueBoolean,
        answer.valueDecimal,
        answer.valueInteger,
        answer.valueDate,
        answer.valueDateTime,
        answer.valueTime,
        answer.valueString,
        answer.valueUri,
        answer.valueCoding,
        answer.valueQuantity,
    )
    return all(one is None for one in sent) or (
        answer.valueString is not None and not answer.valueString.strip()
    )


def _row(answer: ResponseAnswer, whole: Finding, context: Context) -> Finding | None:
    if answer.valueBoolean is not None:
        code = "true" if answer.valueBoolean else "false"
        return msgspec.structs.replace(whole, value_code=code, original=code)
    if answer.valueCoding is not None:
        code = answer.valueCoding.code or ""
        return msgspec.structs.replace(whole, value_code=code, original=code) if code else None
    written = answer.valueDate or answer.valueDateTime
    if written:
        day: PartialDate | None = context.date(written)
        flags = flags_of(dates=(day,), more=whole.flags)
        return (
            msgspec.structs.replace(whole, value_date=day, original=written[:40], flags=flags)
            if day
            else None
        )
    if answer.valueInteger is not None:
        value = Interval.exactly(answer.valueInteger)
        return msgspec.structs.replace(whole, value=value, original=str(answer.valueInteger))
    if answer.valueDecimal is not None:
        number = r4.usable(answer.valueDecimal)
        if number is None:
            return None
        return msgspec.structs.replace(
            whole, value=Interval.exactly(number), original=str(answer.valueDecimal)
        )
    if answer.valueQuantity is not None:
        sent = quantity(answer.valueQuantity)
        if sent.interval is None:
            return None
        unit = sent.units[0] if sent.units else ""
        return msgspec.structs.replace(
            whole, value=sent.interval, unit=unit, original=sent.original, original_unit=sent.original_unit
        )
    return _text(answer.valueString or answer.valueUri or answer.valueTime or "", whole)


def _text(text: str, whole: Finding) -> Finding:
    """A short text as number (``25-50%``, ``<25%``) or as word; the words of a longer one stay behind."""
    clean = normalise(text)
    if len(clean) > _LONGEST_TEXT:
        return msgspec.structs.replace(whole, flags=flags_of("TEXT_OMITTED", more=whole.flags))
    read = read_text(clean, answer=lambda _: "", is_unit=lambda word: word == "%")
    if read.interval is not None:
        flags = flags_of(more=(*whole.flags, *read.flags))
        return msgspec.structs.replace(
            whole, value=read.interval, unit=read.unit, original=clean, original_unit=read.unit, flags=flags
        )
    return msgspec.structs.replace(whole, value_code=clean.casefold(), original=clean)


def _nothing_read(resource: QuestionnaireResponse, raw: RawResource, subject: str) -> Issue:
    return refused("NO_ANSWER_READ", resource, raw, subject=subject).issues[0]
