"""Cards: what a physician is told, in a line and in some more, and never more than the record says.

An unknown is told as unknown. Nothing to say is no card, but a record that did not come whole is something to
say. Source: CDS Hooks 2.0, "Card attributes": a summary has less than 140 characters.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from adapter import protocol
from adapter.consult import UNMAPPED, UNNAMED, UNREAD_DOSE, Advice, Concern, Consultation
from adapter.model.decision import CriterionResult, Verdict
from adapter.model.protocol import Criterion, Protocol
from adapter.store.hook_log import GivenCard
from adapter.web.hooks.words import WORDS, Language
from adapter.writeback.identity import code_system

Json = dict[str, Any]
SUMMARY = 139
_LINES = 6
_WHY = {UNNAMED: "why_unnamed", UNMAPPED: "why_unmapped", UNREAD_DOSE: "why_dose"}
_OVERRIDE = code_system("hook-override-reason")
_MARKS = re.compile(r"([\\`*_\[\]<>|#])")
_SPACE = uuid.UUID("6f0a3f0e-7c1d-5b8e-9d4c-0d8a2b1c3e5f")
_ENROLMENT = frozenset({"ResearchSubject", "ResearchStudy"})
# fhir_profiles/CodeSystem-hook-override-reason.json
OVERRIDES = (
    ("clinically-necessary", "Clinically necessary", "临床需要"),
    ("not-on-study", "The patient is not, or no longer, on the study", "患者未参加或已退出研究"),
    ("study-team-agreed", "Agreed with the study team", "已与研究团队商定"),
    ("information-wrong", "What the card rests on is wrong", "卡片依据的信息有误"),
)


class Told(NamedTuple):
    """A card, and what of it is kept."""

    card: Json
    given: GivenCard


class Press:
    """Makes the cards of one call: ``instance`` is its hookInstance, so that the same call gives the same."""

    def __init__(
        self,
        rules: Protocol,
        instance: str,
        service: str,
        language: Language,
        public_url: str,
        key_of: Callable[[str], str],
        launch: bool,
    ) -> None:
        self._rules, self._language, self._words = rules, language, WORDS[language]
        self._call, self._url, self._launch = f"{service} {instance}", public_url, launch
        self._key_of = key_of

    def patient(self, found: Consultation) -> list[Told]:
        """``patient-view``."""
        if found.standing == "unknown":
            body = [*self._lacking(found), self._disclaimer(found)]
            return [self._told(found, "info", self._say("unknown"), body, ("unknown",))]
        if found.monitoring is not None:
            return list(self._followed(found))
        decision = found.decision
        if decision is None or decision.overall.value == "ineligible":
            return []
        questions = protocol.settle(self._rules, decision)
        body = [
            *self._section("open", (self._question(one.id, one.settles) for one in questions)),
            *self._section("why", (self._why(one) for one in self._counted(found))),
            *self._lacking(found),
            *([self._words["review"]] if decision.review else []),
            self._disclaimer(found),
        ]
        key = "questions.1" if len(questions) == 1 else "questions"
        summary = self._say(decision.overall.value, open=self._words[key].format(n=len(questions)))
        about = (decision.overall.value, *(one.id for one in questions))
        return [self._told(found, "info", summary, body, about)]

    def orders(self, found: Advice, drugs: Mapping[str, str]) -> list[Told]:
        """``order-select`` and ``order-sign``; ``drugs`` are the words of each order."""
        person = found.consultation
        untold = person.standing != "on study" and _ENROLMENT & {kind for kind, _ in person.lacking}
        told = []
        if untold and drugs:
            body = [*self._lacking(person), self._disclaimer(person)]
            told.append(self._told(person, "info", self._say("order_standing"), body, ("order unknown",)))
        for order in dict.fromkeys(one.order for one in found.concerns):
            own = [one for one in found.concerns if one.order == order]
            told += self._order(person, order, drugs.get(order, ""), own)
        return told

    def _order(self, person: Consultation, order: str, words: str, concerns: list[Concern]) -> Iterator[Told]:
        drug = words[:50] or self._words["this_order"]
        broken = [one for one in concerns if one.verdict == "breaks"]
        open_ = [one for one in concerns if one.verdict == "unknown"]
        for key, some, indicator in (("breaks", broken, "warning"), ("order_unknown", open_, "info")):
            if not some:
                continue
            rules = [one.criterion for one in some if one.criterion is not None]
            names = ", ".join(rule.id for rule in rules)
            unmapped = any(one.why == UNMAPPED for one in some)
            bare = "order_unmapped" if unmapped else "order_unread"
            summary = self._say(key if rules else bare, drug=drug, rules=names)
            body = [*self._section("why", map(self._concern, some)), *self._lacking(person)]
            body.append(self._disclaimer(person))
            about = tuple(f"{one.criterion.id if one.criterion else 'order'} {one.verdict}" for one in some)
            yield self._told(person, indicator, summary, body, (order, *about), overrides=key == "breaks")

    def _followed(self, found: Consultation) -> Iterator[Told]:
        watched = found.monitoring
        assert watched is not None  # noqa: S101 - only called with one
        safety = [one for one in watched.safety if one.verdict is Verdict.MET]
        exits = [one for one in watched.exits if one.verdict is Verdict.MET]
        overdue = [one for one in watched.due if one.status == "overdue"]
        if safety or exits:
            rules = [self._rules.criterion(one.id) for one in (*safety, *exits)]
            urgent = any(rule.severity == "high" for rule in rules)
            body = [
                *self._section("safety", map(self._why, safety)),
                *self._section("exits", map(self._why, exits)),
                *self._section("overdue", (f"{one.what} ({one.last})" for one in overdue)),
                *self._lacking(found),
                self._disclaimer(found),
            ]
            summary = self._say("on_study", safety=len(safety), exits=len(exits))
            about = tuple(f"{rule.id} met" for rule in rules)
            yield self._told(found, "warning" if urgent else "info", summary, body, about)
        elif found.lacking:
            body = [*self._lacking(found), self._disclaimer(found)]
            yield self._told(found, "info", self._say("on_study_partly"), body, ("on study", "partly"))

    def _told(
        self,
        found: Consultation,
        indicator: str,
        summary: str,
        body: Iterable[str],
        about: tuple[str, ...],
        *,
        overrides: bool = False,
    ) -> Told:
        key = str(uuid.uuid5(_SPACE, " ".join((self._call, found.subject, *about))))
        label = f"{self._rules.id} {self._rules.version}"
        link: Json = {
            "label": self._words["open_patient"],
            "url": f"{self._url}/worklist/patients/{self._key_of(found.subject)}",
            "type": "absolute",
        }
        if self._launch:
            link |= {"url": f"{self._url}/launch", "type": "smart"}
        card: Json = {
            "uuid": key,
            "summary": summary if len(summary) <= SUMMARY else summary[: SUMMARY - 1] + "…",
            "detail": "\n".join(body),
            "indicator": indicator,
            "source": {"label": label, "url": f"https://clinicaltrials.gov/study/{self._rules.id}"},
            "links": [link],
        }
        if overrides:
            zh = self._language == "zh"
            card["overrideReasons"] = [
                {"system": _OVERRIDE, "code": code, "display": words if zh else text}
                for code, text, words in OVERRIDES
            ]
        return Told(card, GivenCard(key, found.subject, about))

    def _counted(self, found: Consultation) -> list[CriterionResult]:
        assert found.decision is not None  # noqa: S101 - only called with one
        results = (found.decision.criterion(name) for name in self._rules.counts)
        return [one for one in results if one.verdict is not Verdict.UNKNOWN]

    def _question(self, name: str, settles: tuple[str, ...]) -> str:
        return f"**{name}** {self._text(name)}: {self._words['needs']} {_plain('; '.join(settles))}"

    def _why(self, one: CriterionResult) -> str:
        sources = dict.fromkeys(_place(item.source) for item in one.evidence if item.role == "used")
        shown = ", ".join([*sources][:3])
        return f"**{one.id}** {self._text(one.id)}: {_plain(one.reason)}" + (f" ({shown})" if shown else "")

    def _concern(self, one: Concern) -> str:
        if one.criterion is None or one.result is None:
            why = self._words.get(_WHY.get(one.why, ""), one.why)
            return _plain(f"{why} ({one.code})" if one.code else why)
        reason = one.why if one.verdict == "unknown" else one.result.reason
        words = f"{_words_of(one.criterion, self._language)}: {_plain(reason)} ({one.criterion.source})"
        return f"**{one.criterion.id}** {words}"

    def _text(self, name: str) -> str:
        return _words_of(self._rules.criterion(name), self._language)

    def _section(self, key: str, lines: Iterable[str]) -> list[str]:
        several = list(lines)
        if not several:
            return []
        rest = len(several) - _LINES
        more = [f"- {self._words['more'].format(n=rest)}"] if rest > 0 else []
        return [f"**{self._words[key]}**", "", *(f"- {line}" for line in several[:_LINES]), *more, ""]

    def _lacking(self, found: Consultation) -> list[str]:
        return self._section("lacking", (f"{kind}: {why}" for kind, why in found.lacking))

    def _disclaimer(self, found: Consultation) -> str:
        return self._words["disclaimer"].format(day=found.as_of)

    def _say(self, key: str, **more: object) -> str:
        return self._words[key].format(study=self._rules.id, **more)


def _words_of(rule: Criterion, language: Language) -> str:
    return rule.text_zh if language == "zh" and rule.text_zh else rule.text


def _plain(text: str) -> str:
    """Text of a record within Markdown, as it is."""
    return _MARKS.sub(r"\\\1", text)


def _place(source: Any) -> str:
    return f"{source.reference}/_history/{source.version}" if source.version else source.reference
