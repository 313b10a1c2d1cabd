"""Which facts become rows of a dataset, under which term, and which are kept back and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import MappingProxyType
from typing import NamedTuple

from adapter.exports import journey
from adapter.exports.codelists import folded
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.record import Exposure, Fact, Term, Unmet
from adapter.exports.spec import DatasetSpec, TermVariant
from adapter.exports.study import StudyConfig
from adapter.exports.subjects import Participant
from adapter.model.decision import Verdict
from adapter.model.facts import Event, Finding, Intervention


class Selected(NamedTuple):
    """A fact for one row; ``treatment`` as in :class:`record.Record`, ``order`` that of equal rows."""

    fact: Fact
    term: Term = MappingProxyType({})
    treatment: str = ""
    order: str = ""


def select(
    spec: DatasetSpec,
    one: Participant,
    study: StudyConfig,
    pseudonyms: Pseudonymiser,
    withheld: Counter[str],
) -> Iterator[Selected]:
    """What the rows of a dataset are made from for one participant; counts what is kept back."""
    match spec.rows:
        case "subjects":
            yield Selected(one.person)
        case "findings":
            yield from _findings(spec, one, pseudonyms, withheld)
        case "events":
            for event in one.facts.events:
                reason = _history(event, one)
                if reason:
                    withheld[f"{spec.name} {reason}"] += 1
                elif reason is not None:
                    yield Selected(event, _term(spec, event), "", pseudonyms.source(event.source))
        case "interventions":
            for drug in one.other_drugs:
                if drug.use == "NEVER":
                    withheld[f"{spec.name} NEVER_USE"] += 1
                else:
                    yield Selected(drug, _term(spec, drug), "", pseudonyms.source(drug.source))
        case "exposures":
            for exposure in one.exposures:
                yield Selected(exposure, order=_interval(exposure))
        case "doses":
            for drug in one.study_drugs:
                yield Selected(drug, _term(spec, drug), "", pseudonyms.source(drug.source))
        case "adverse events":
            yield from _adverse_events(spec, one, pseudonyms, withheld)
        case "procedures":
            for event in one.facts.events:
                if event.category == "procedure" and event.concept in spec.terms:
                    reason = event.excluded or ("REFUTED" if event.presence == "refuted" else "")
                    if reason:
                        withheld[f"{spec.name} {reason}"] += 1
                    else:
                        yield Selected(event, _term(spec, event), "", pseudonyms.source(event.source))
        case "microscopy":
            yield from _findings(spec, one, pseudonyms, withheld)
            for event in one.facts.events:
                if event.category == "report" and event.concept in spec.terms and not event.excluded:
                    seen = _diagnosed(event)
                    yield Selected(seen, _term(spec, seen), "", pseudonyms.source(event.source))
        case "lived elements":
            for element in journey.elements(one.person, study):
                yield Selected(element, order=element.code)
        case "dispositions":
            for milestone in journey.dispositions(one):
                yield Selected(milestone, order=f"{milestone.category}|{milestone.decoded}")
        case "responses":
            states = one.responses
            for response in journey.responses(states, one.person.last_contact):
                yield Selected(response, order=response.visit)
        case "criteria":
            for unmet in _unmet(one, study):
                yield Selected(unmet, order=unmet.id)


def _interval(one: Exposure) -> str:
    """What names a constant-dose interval when its records change: drug, start and regimen."""
    return "|".join(
        (one.concept, one.start, str(one.dose), one.dose_unit, one.form, one.frequency, one.route)
    )


def _adverse_events(
    spec: DatasetSpec, one: Participant, pseudonyms: Pseudonymiser, withheld: Counter[str]
) -> Iterator[Selected]:
    """Adverse events that happened, from consent on; an event whose day is not known is kept."""
    consent = one.person.consent_day or one.person.enrolment_day
    for event in one.facts.events:
        if event.category != "adverse-event":
            continue
        reason = event.excluded or ("NOT_HAPPENED" if event.presence != "present" else "")
        if not reason and event.start and consent and event.start.last < consent:
            reason = "BEFORE_CONSENT"
        if reason:
            withheld[f"{spec.name} {reason}"] += 1
        else:
            yield Selected(event, _term(spec, event), "", pseudonyms.source(event.source))


def _diagnosed(event: Event) -> Finding:
    """The coded conclusion of a pathology report as a finding."""
    return Finding(
        event.subject, event.concept, event.source, "pathology", event.code, event.use, start=event.start
    )


def _findings(
    spec: DatasetSpec, one: Participant, pseudonyms: Pseudonymiser, withheld: Counter[str]
) -> Iterator[Selected]:
    for finding in one.facts.findings:
        if finding.concept not in spec.terms or finding.category == "questionnaire":
            continue
        treatment: str = spec.excluded.get(finding.excluded, "")
        term = _term(spec, finding)
        if finding.excluded and not treatment:
            withheld[f"{spec.name} {finding.excluded}"] += 1
        elif finding.use == "NEVER" or "CODE_UNVERIFIED" in finding.flags:
            withheld[f"{spec.name} CODE_UNVERIFIED"] += 1
        elif not term:
            withheld[f"{spec.name} NO_TERM"] += 1
        else:
            shown = "" if treatment == "as it is" else treatment
            yield Selected(finding, term, shown, pseudonyms.source(finding.source))


def _history(event: Event, one: Participant) -> str | None:
    """Whether an event is medical history: "" yes, a reason why not, None for another kind of event."""
    if event.category != "diagnosis":
        return None
    if event.excluded not in ("", "UNMAPPED") or event.use == "NEVER":
        return event.excluded or "NEVER_USE"
    if event.presence in ("unconfirmed", "refuted"):
        return event.presence.upper()
    began = event.start or event.recorded
    consent = one.person.consent_day or one.person.enrolment_day
    return "AFTER_CONSENT" if began and consent and began.first > consent else ""


def _term(spec: DatasetSpec, fact: Finding | Event | Intervention) -> dict[str, str]:
    return next((one.set for one in spec.terms.get(fact.concept, ()) if _fits(one, fact)), {})


def _fits(variant: TermVariant, fact: Finding | Event | Intervention) -> bool:
    for name, wanted in variant.when.items():
        value = getattr(fact, name)
        if value not in ([wanted] if isinstance(wanted, str) else wanted):
            return False
    return True


def _unmet(one: Participant, study: StudyConfig) -> Iterator[Unmet]:
    """Inclusion criteria not met and exclusion criteria met; what is unknown is neither."""
    if one.decision is None:
        return
    results = {found.id: found for top in one.decision.criteria for found in top.walk()}
    for criterion in study.criteria:
        result = results.get(criterion.id)
        wanted = Verdict.NOT_MET if criterion.category == "INCLUSION" else Verdict.MET
        if result is not None and result.verdict is wanted:
            answer = "N" if criterion.category == "INCLUSION" else "Y"
            on = one.decision.as_of.isoformat()
            yield Unmet(criterion.id, folded(criterion.text), criterion.category, answer, on)
