"""Who may leave the hospital, and until when.

Exported is whom the datasets of a trial are about: people who signed this study's consent, screen
failures among them, and people enrolled in it. Someone who was only looked at, because a diagnosis made
them a candidate, never leaves. A ResearchSubject proves enrolment only from a status that comes after
consent: ``candidate``, ``eligible``, ``ineligible`` or ``screening`` are also written by pre-screening, and
``withdrawn`` says that someone left before being registered. A consent counts if it names this study.

After a withdrawal nothing later than its day is exported; withdrawn without a known day, nothing is.
Sources: ICH E6(R2) 4.8; SDTMIG 3.4, DM assumption 1; FHIR R4 research-subject-status.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from adapter.exports.study import StudyConfig
from adapter.model.dates import PartialDate
from adapter.model.facts import Event, Facts, Finding

ENROLLED = frozenset({"on-study", "on-study-intervention", "on-study-observation", "follow-up", "off-study"})
FAILED = frozenset({"ineligible", "not-registered"})

_Word = Literal["signed", "refused", "withdrawn"]
_WORDS: dict[str, _Word] = {"signed": "signed", "refused": "refused", "withdrawn": "withdrawn"}


class Standing(msgspec.Struct, frozen=True):
    """What is known of one person's consent and enrolment in this study."""

    exported: bool
    reason: str
    signed: PartialDate | None = None
    enrolment: Event | None = None
    until: date | None = None
    failed: bool = False


class _Statement(msgspec.Struct, frozen=True):
    word: _Word
    when: PartialDate | None

    @property
    def order(self) -> tuple[date, str]:
        """An undated signature comes first and an undated "no" last: doubt keeps data in the hospital."""
        undated = date.min if self.word == "signed" else date.max
        return (self.when.first if self.when else undated, self.word)


def standing(facts: Facts, study: StudyConfig) -> Standing:
    """Judge one subject's facts; ``reason`` names the rule that decided."""
    statements = sorted(_consents(facts, study) + _attested(facts, study), key=lambda one: one.order)
    signatures = [one.when for one in statements if one.word == "signed"]
    signed = next((when for when in signatures if when), None)
    enrolments = sorted(
        (event for event in facts.events if _is_enrolment(event, study)),
        key=lambda event: (event.start.order if event.start else (), event.source),
    )
    enrolment = next((event for event in reversed(enrolments) if event.status in ENROLLED), None)
    failed = any(event.status in FAILED for event in enrolments)
    if not signatures and enrolment is None:
        return Standing(False, "NO_CONSENT")
    latest = statements[-1] if statements else None
    if latest is not None and latest.word != "signed":
        if latest.when is None:
            return Standing(False, "WITHDRAWN_UNDATED")
        return Standing(True, "WITHDRAWN", signed, enrolment, latest.when.first, failed)
    return Standing(True, "CONSENTED" if signatures else "ENROLLED", signed, enrolment, None, failed)


def _is_enrolment(event: Event, study: StudyConfig) -> bool:
    return event.category == "research-subject" and not event.excluded and _names(event, study)


def _names(event: Event, study: StudyConfig) -> bool:
    """Whether study, its identifier or the policy of a consent names this study."""
    words = " ".join(event.attribute(name) for name in ("study", "study_identifier", "policy")).split()
    return any(study.means_this_study(word) for word in words)


def _consents(facts: Facts, study: StudyConfig) -> list[_Statement]:
    rows = [
        event
        for event in facts.events
        if event.category == "consent" and not event.excluded and _names(event, study)
    ]
    permits = [row for row in rows if row.status == "active" and row.attribute("provision") != "deny"]
    found = [_Statement("signed", row.start) for row in permits]
    for row in rows:
        if row.status == "inactive":
            found += _ended(row, permits)
        elif row.status == "rejected" or (row.status == "active" and row not in permits):
            found.append(_Statement("refused", row.start))
    return found


def _ended(row: Event, permits: list[Event]) -> list[_Statement]:
    """Beside an earlier signature an inactive consent records the withdrawal; alone it was the signature."""
    earlier = any(one.start and row.start and one.start.first <= row.start.first for one in permits)
    if earlier:
        return [_Statement("withdrawn", row.end or row.start)]
    return [_Statement("signed", row.start), _Statement("withdrawn", row.end)]


def _attested(facts: Facts, study: StudyConfig) -> list[_Statement]:
    """Item ``consent`` of the study's questionnaire, dated by item ``consent-date`` of the same answer."""
    answers = [
        finding
        for finding in facts.findings
        if finding.category == "questionnaire"
        and not finding.excluded
        and finding.code.system.split("|")[0] == study.questionnaire
        and study.questionnaire
    ]
    dates = {one.source.reference: one for one in answers if one.code.code == "consent-date"}
    found: list[_Statement] = []
    for answer in answers:
        if answer.code.code != "consent":
            continue
        when = _attested_day(answer, dates.get(answer.source.reference))
        word = _WORDS.get(answer.value_code)
        if word is not None:
            found.append(_Statement(word, when))
    return found


def _attested_day(answer: Finding, dated: Finding | None) -> PartialDate | None:
    """A withdrawal is as old as its attestation; the consent date beside it is that of the signature."""
    if answer.value_code == "signed" and dated is not None and dated.value_date is not None:
        return dated.value_date
    return answer.start
