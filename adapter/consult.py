"""One patient, from resources at hand to what the protocol says: for CDS Hooks and ``$evaluate``.

Nothing is landed and nothing kept. The same mappers and rules as in a screening, so that the same records
give the same verdict whichever way they came. What did not come is :class:`~adapter.model.coverage.Coverage`
that is not complete: then the answer is "unknown", never "no".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from adapter import mappers, protocol
from adapter.mappers.index import parse_reference
from adapter.mappers.terminology.vocabulary import candidate_query
from adapter.model import wire
from adapter.model.candidates import NOMINATING_TYPES, CandidateQuery
from adapter.model.course import DoseChanged, DoseIs
from adapter.model.coverage import Coverage
from adapter.model.dates import add_days
from adapter.model.decision import CriterionResult, Decision, Verdict
from adapter.model.facts import Facts, Intervention
from adapter.model.ladder import Ladder
from adapter.model.monitoring import Monitoring
from adapter.model.nodes import descend
from adapter.model.protocol import Criterion
from adapter.model.resource import RawResource
from adapter.model.selection import ExposureTest
from adapter.protocol.doses import daily_milligrams
from adapter.protocol.ladder_load import load_ladders
from adapter.screening import enrolment_days
from adapter.source.ndjson import Block
from adapter.source.nominate import candidate_ids
from adapter.source.questions import BY_PATIENT
from adapter.trial import Trial

TYPES = ("Patient", *BY_PATIENT)
Standing = Literal["no candidate", "candidate", "on study", "unknown"]
UNNAMED = "the medication of this order is not recognised"
UNMAPPED = "no table of this site knows the drug: whether it is allowed could not be checked"
UNREAD_DOSE = "its daily dose cannot be read: no frequency, no amount, or a unit that is no mass"
_ORDERS = ("order", "original-order", "reflex-order", "filler-order", "instance-order")
_AHEAD = timedelta(days=90)  # an order that begins later than this is looked at as of today


class Counsel(NamedTuple):
    """A trial with everything that can be worked out before a patient is known."""

    trial: Trial
    query: CandidateQuery
    ladders: tuple[Ladder, ...]


class Record(NamedTuple):
    """What is at hand about one patient, and which types of it are complete."""

    patient: str
    resources: tuple[RawResource, ...]
    coverage: tuple[Coverage, ...]


class Consultation(msgspec.Struct, frozen=True):
    """What the protocol says about one patient as of a day.

    ``subject`` is the surviving Patient.id. ``standing`` is "unknown" where too little came to tell whether
    the patient is a candidate. ``decision`` is of who is, or was, a candidate (of people on the study as of
    the day before they entered), ``monitoring`` of people on the study. ``lacking`` are the types that did
    not come whole, with the reason.
    """

    subject: str
    as_of: date
    standing: Standing
    decision: Decision | None = None
    monitoring: Monitoring | None = None
    lacking: tuple[tuple[str, str], ...] = ()


class Concern(msgspec.Struct, frozen=True):
    """What an order means under one rule. ``verdict`` "breaks" or "unknown"; ``result`` is the rule's verdict
    with the order in force, None where the order itself cannot be read: then ``why`` is :data:`UNNAMED`,
    :data:`UNMAPPED` or :data:`UNREAD_DOSE`, and ``code`` the drug's as it was sent (``system|code``)."""

    order: str
    verdict: Literal["breaks", "unknown"]
    criterion: Criterion | None
    result: CriterionResult | None
    why: str = ""
    code: str = ""


class Advice(msgspec.Struct, frozen=True):
    """The patient with the orders in force, and what they would break or leave open."""

    consultation: Consultation
    concerns: tuple[Concern, ...] = ()


def counsel(trial: Trial) -> Counsel:
    """Prepare once; :func:`consult` then costs milliseconds."""
    query = candidate_query(trial.terminology, trial.protocol.candidates, trial.protocol.id)
    return Counsel(trial, query, load_ladders(trial.folder, trial.vocabulary, trial.protocol))


def consult(
    ready: Counsel, record: Record, *, as_of: date, entry: bool = False, known: bool = False
) -> Consultation:
    """What the protocol says about the patient of a record. With ``entry`` people on the study are also
    judged as of the day before they entered it; ``known`` says that the record was found to nominate."""
    if not known and not nominated(ready, record):
        return unnominated(record, as_of)
    return _judged(ready, record.patient, _facts(ready, record), _lacking(record), as_of, entry)


def unnominated(record: Record, as_of: date) -> Consultation:
    """What there is to say of a record that :func:`nominated` does not find."""
    lacking = _lacking(record)
    told = not {kind for kind, _ in lacking} & {*NOMINATING_TYPES, "ResearchStudy"}
    return Consultation(record.patient, as_of, "no candidate" if told else "unknown", lacking=lacking)


def _lacking(record: Record) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(row.resource_type, row.reason) for row in record.coverage if not row.complete}))


def advise(
    ready: Counsel,
    record: Record,
    orders: Sequence[RawResource],
    *,
    as_of: date,
    before: Consultation | None = None,
) -> Advice:
    """What the orders, were they in force, would break or leave open.

    ``orders`` are those of :func:`in_force`. For people on the study every rule of the plan counts, for a
    candidate who is not ineligible anyway the criteria of eligibility; for everybody else nothing does.
    ``before`` is :func:`consult` of the same record and day, if it is known already.
    """
    before = before or consult(ready, record, as_of=as_of)
    ids = frozenset(_reference(one) for one in orders if one.resource_type == "MedicationRequest")
    if before.standing in ("no candidate", "unknown") or not ids:
        return Advice(before)
    if before.decision is not None and before.decision.overall.value == "ineligible":
        return Advice(before)
    kept = tuple(one for one in record.resources if _reference(one) not in ids)
    facts = _facts(ready, record._replace(resources=(*kept, *orders)))
    ordered = [row for row in facts.interventions if row.source.reference in ids]
    after = _judged(ready, record.patient, facts, before.lacking, _effective(ordered, as_of), False)
    return Advice(after, tuple(_concerns(ready, before, after, ordered, sorted(ids))))


def in_force(drafts: Iterable[Mapping[str, Any]], patient: str, *, now: datetime) -> tuple[RawResource, ...]:
    """Draft orders as they would stand once signed, with the Medications sent beside them.

    A MedicationRequest becomes an active order written ``now``, unless it names its own time; one without a
    subject is this patient's, one of somebody else is left out. Whatever is neither is left out too.
    """
    found = []
    for number, draft in enumerate(drafts):
        kind = draft.get("resourceType")
        if kind == "MedicationRequest" and _whose(draft, patient) == patient:
            signed = {"id": f"draft-{number + 1}", "authoredOn": now.isoformat(timespec="seconds"), **draft}
            signed |= {"status": "active", "subject": {"reference": f"Patient/{patient}"}}
            if signed.get("intent") not in _ORDERS:
                signed["intent"] = "order"
            found.append(signed)
        elif kind == "Medication":
            found.append(dict(draft))
    return tuple(
        RawResource(wire.encode(one), f"order:{number + 1}", str(one["resourceType"]))
        for number, one in enumerate(found)
    )


def _whose(draft: Mapping[str, Any], patient: str) -> str:
    subject = draft.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    target = parse_reference(reference) if isinstance(reference, str) else None
    return patient if target is None and not reference else target.id if target else ""


def nominated(ready: Counsel, record: Record) -> bool:
    """Whether the same search that finds candidates in a landing finds this one."""
    lines: dict[str, list[bytes]] = {}
    for one in record.resources:
        lines.setdefault(one.resource_type, []).append(one.line.replace(b"\n", b" "))
    blocks = {kind: Block(b"\n".join(some) + b"\n", 1) for kind, some in lines.items()}

    def read(types: frozenset[str]) -> list[tuple[str, Block]]:
        return [(kind, block) for kind, block in blocks.items() if kind in types]

    return record.patient in candidate_ids(read, ready.query).ids


def _facts(ready: Counsel, record: Record) -> Facts:
    trial = ready.trial
    return mappers.map_resources(
        record.resources,
        terminology=trial.terminology,
        zone=trial.site.zone,
        coverage=record.coverage,
        options=trial.site.options,
    )


def _judged(
    ready: Counsel,
    patient: str,
    facts: Facts,
    lacking: tuple[tuple[str, str], ...],
    as_of: date,
    entry: bool,
) -> Consultation:
    rules, zone = ready.trial.protocol, ready.trial.site.zone
    subject = next((one.id for one in facts.subjects if patient in (one.id, *one.merged)), None)
    if subject is None:
        return Consultation(patient, as_of, "unknown", lacking=(*lacking, ("Patient", "no readable record")))
    own = facts.by_subject()[subject]
    entered = enrolment_days(own, rules.id, as_of).get(subject)
    decision = monitored = None
    if entered is None or entry:
        assessed = as_of if entered is None else add_days(entered, -1)
        decision = protocol.evaluate_candidate(rules, own, as_of=as_of, assessed=assessed, zone=zone)
    if entered is not None:
        monitored = protocol.monitor(rules, own, as_of=as_of, zone=zone, ladders=ready.ladders)
    standing: Standing = "on study" if entered is not None else "candidate" if decision else "no candidate"
    return Consultation(subject, as_of, standing, decision, monitored, lacking)


def _effective(ordered: Iterable[Intervention], as_of: date) -> date:
    """The day on which the orders count: when the last of them begins, if that is soon."""
    days = [row.start.first for row in ordered if row.start is not None]
    return max([as_of, *(day for day in days if day <= as_of + _AHEAD)])


def _concerns(
    ready: Counsel,
    before: Consultation,
    after: Consultation,
    ordered: Sequence[Intervention],
    ids: Sequence[str],
) -> Iterable[Concern]:
    rules = ready.trial.protocol
    told = {row.source.reference for row in ordered if row.concept or _named(row)}
    for order in ids:
        if order not in told:
            yield Concern(order, "unknown", None, None, UNNAMED)
    if after.standing == "on study":
        for row in ordered:
            if not row.concept and _named(row):
                yield Concern(row.source.reference, "unknown", None, None, UNMAPPED, _sent_code(row))
    former = {criterion.id: result for criterion, result in _results(ready, before)}
    for criterion, result in _results(ready, after):
        was = former[criterion.id].verdict if criterion.id in former else Verdict.UNKNOWN
        named = {item.source.reference for item in result.evidence if item.role == "used"}
        for order in (one for one in ids if one in named):
            if result.verdict is _adverse(criterion) and (
                _asks(criterion, DoseIs, ExposureTest)
                or (_asks(criterion, DoseChanged) and result.verdict is not was)
            ):
                yield Concern(order, "breaks", criterion, result)
            elif _opened(result, was, criterion):
                why = "; ".join(result.settles) or result.reason
                yield Concern(order, "unknown", criterion, result, why)
    if after.standing == "on study":
        for row in ordered:
            if daily_milligrams(row) is None and row.concept in _dosed(rules.plan.doses):
                yield Concern(row.source.reference, "unknown", None, None, UNREAD_DOSE)


def _named(row: Intervention) -> bool:
    """Whether a drug that no table knows is at least named in words. For a candidate that is enough: the
    tables hold what a protocol asks about. Of somebody on the study it is said that nobody could check it."""
    return "MEDICATION_UNRESOLVED" not in row.flags and bool(row.code.display)


def _sent_code(row: Intervention) -> str:
    return f"{row.code.system}|{row.code.code}" if row.code.code else ""


def _asks(criterion: Criterion, *kinds: type) -> bool:
    """Whether the rule itself looks at what is taken, how much, or whether that changes. A rule that repeats
    another one, or counts days without the drug, is not what an order breaks."""
    return any(isinstance(node, kinds) for node in descend(criterion.lines))


def _opened(result: CriterionResult, was: Verdict, criterion: Criterion) -> bool:
    """Whether the order leaves a rule open that was settled before, or one about how much is taken."""
    if result.verdict is not Verdict.UNKNOWN or "NOT_APPLICABLE" in result.flags:
        return False
    return _asks(criterion, DoseIs) or (was is not Verdict.UNKNOWN and _asks(criterion, ExposureTest))


def _results(ready: Counsel, after: Consultation) -> Iterable[tuple[Criterion, CriterionResult]]:
    """What orders are held against."""
    rules = ready.trial.protocol
    followed = after.monitoring
    tops: Iterable[CriterionResult] = ()
    if followed is not None:
        tops = (*followed.exits, *followed.doses, *followed.safety, *followed.deviations)
    elif after.decision is not None:
        tops = tuple(after.decision.criterion(name) for name in rules.counts)
    return [(rules.criterion(one.id), one) for one in tops]


def _adverse(criterion: Criterion) -> Verdict:
    """The verdict nobody wants: an inclusion or a dosing rule not met, anything else met."""
    return Verdict.NOT_MET if criterion.kind in ("inclusion", "dose") else Verdict.MET


def _dosed(rules: Iterable[Criterion]) -> frozenset[str]:
    """The drugs whose dose a protocol has rules about."""
    nodes = (node for rule in rules for node in descend(rule.lines))
    return frozenset(drug for node in nodes if isinstance(node, DoseIs) for drug in node.dose.drugs)


def _reference(one: RawResource) -> str:
    head = msgspec.json.decode(one.line, type=_Head)
    return f"{head.resourceType}/{head.id}"


class _Head(msgspec.Struct):
    resourceType: str = ""
    id: str = ""
