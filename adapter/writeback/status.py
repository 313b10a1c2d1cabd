"""ResearchSubject.status: the 13 codes, who may move a subject from which to which, in R4 and in R5.

FHIR defines the codes (https://hl7.org/fhir/R4/valueset-research-subject-status.html) but no transitions.
This table is ours. The software proposes in the first three states only; everything from screening on
belongs to people. ``withdrawn`` is "before registration"; who leaves afterwards is ``off-study``.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from adapter.model.decision import Overall

Stage = Literal["proposed", "screening", "registered", "over"]
Who = Literal["system", "person"]
ABSENT = ""
R5_STATES = "http://terminology.hl7.org/CodeSystem/research-subject-state"


class Status(NamedTuple):
    """One R4 code; ``meaning`` is shortened from the R4 definition."""

    code: str
    stage: Stage
    meaning: str


class Transition(NamedTuple):
    """``source`` is "" where there was no ResearchSubject before."""

    source: str
    target: str
    who: Who


STATUSES: tuple[Status, ...] = (
    Status("potential-candidate", "proposed", "may be eligible; something is still unknown"),
    Status("candidate", "proposed", "can be considered for inclusion"),
    Status("ineligible", "proposed", "did not meet one or more criteria"),
    Status("screening", "screening", "is being evaluated for eligibility by the study team"),
    Status("eligible", "screening", "has met the criteria, as the study team says"),
    Status("pending-on-study", "screening", "is pre-registered"),
    Status("not-registered", "over", "registration was not completed"),
    Status("withdrawn", "over", "withdrew before registration"),
    Status("on-study", "registered", "is enrolled or registered"),
    Status("on-study-intervention", "registered", "receives what the study evaluates"),
    Status("on-study-observation", "registered", "is assessed without intervention"),
    Status("follow-up", "registered", "is monitored after intervention and assessments"),
    Status("off-study", "over", "ended participation after registration"),
)
_STAGES: dict[str, Stage] = {status.code: status.stage for status in STATUSES}

PROPOSALS: dict[Overall, str] = {
    Overall.ELIGIBLE: "candidate",
    Overall.UNDETERMINED: "potential-candidate",
    Overall.INELIGIBLE: "ineligible",
}


def _by(who: Who, source: str, *targets: str) -> tuple[Transition, ...]:
    return tuple(Transition(source, target, who) for target in targets)


TRANSITIONS: tuple[Transition, ...] = (
    # An ineligible patient who is nobody's candidate yet is not recorded in the hospital's system at all.
    *_by("system", ABSENT, "potential-candidate", "candidate"),
    *_by("system", "potential-candidate", "candidate", "ineligible"),
    *_by("system", "candidate", "potential-candidate", "ineligible"),
    *_by("system", "ineligible", "potential-candidate", "candidate"),
    *_by("person", ABSENT, *(status.code for status in STATUSES)),
    *_by("person", "potential-candidate", "candidate", "screening", "eligible", "ineligible"),
    *_by("person", "potential-candidate", "withdrawn", "not-registered"),
    *_by("person", "candidate", "potential-candidate", "screening", "eligible", "ineligible"),
    *_by("person", "candidate", "withdrawn", "not-registered"),
    *_by("person", "ineligible", "potential-candidate", "candidate", "screening"),
    *_by("person", "screening", "candidate", "eligible", "ineligible", "withdrawn", "not-registered"),
    *_by("person", "eligible", "screening", "ineligible", "pending-on-study"),
    *_by("person", "eligible", "on-study", "on-study-intervention", "on-study-observation"),
    *_by("person", "eligible", "withdrawn", "not-registered"),
    *_by("person", "pending-on-study", "on-study", "on-study-intervention", "on-study-observation"),
    *_by("person", "pending-on-study", "ineligible", "withdrawn", "not-registered"),
    *_by("person", "not-registered", "candidate", "screening"),
    *_by("person", "withdrawn", "candidate", "screening"),
    *_by("person", "on-study", "on-study-intervention", "on-study-observation", "follow-up", "off-study"),
    *_by("person", "on-study-intervention", "on-study-observation", "follow-up", "off-study"),
    *_by("person", "on-study-observation", "on-study-intervention", "follow-up", "off-study"),
    *_by("person", "follow-up", "off-study"),
    *_by("person", "off-study", "follow-up"),
)
_ALLOWED = frozenset(TRANSITIONS)


def is_code(status: str) -> bool:
    return status in _STAGES


def stage_of(status: str) -> Stage:
    """Raises KeyError for anything but the 13 codes."""
    return _STAGES[status]


def may(who: Who, source: str, target: str) -> bool:
    """Whether the table lets ``who`` move a subject; staying is always allowed."""
    return source == target or Transition(source, target, who) in _ALLOWED


def contradicts(status: str, verdict: Overall) -> bool:
    """Whether a person's status and the verdict cannot both be right.

    A person who says more than the record does is no contradiction (eligible while the record leaves a
    gap), nor is anything after registration: the criteria speak of the time before it.
    """
    if verdict is Overall.INELIGIBLE:
        return status != "ineligible" and stage_of(status) in ("proposed", "screening")
    return verdict is Overall.ELIGIBLE and status == "ineligible"


def r4_form(status: str) -> dict[str, Any]:
    return {"status": status}


def r5_form(status: str) -> dict[str, Any]:
    """R5 keeps a publication status and moves the state to ``progress.subjectState`` (same 13 codes)."""
    state = {"coding": [{"system": R5_STATES, "code": status}]}
    return {"status": "active", "progress": [{"subjectState": state}]}


def from_r5(resource: dict[str, Any]) -> str:
    """The state of an R5 ResearchSubject: its last progress entry without an end; "" if none."""
    entries = [entry for entry in resource.get("progress", []) if "endDate" not in entry]
    codings = entries[-1].get("subjectState", {}).get("coding", []) if entries else []
    return next((str(coding["code"]) for coding in codings if coding.get("system") == R5_STATES), "")


def diagram() -> str:
    """The table as a Mermaid state diagram; each arrow is labelled with who may cause it."""
    lines = ["stateDiagram-v2"]
    lines += [f"    {_node(status.code)} : {status.code}" for status in STATUSES]
    for move in TRANSITIONS:
        if move.source == ABSENT and move.who == "person":
            continue  # a person may record a subject in any state; thirteen arrows would say no more
        lines.append(f"    {_node(move.source)} --> {_node(move.target)} : {move.who}")
    return "\n".join(lines)


def table() -> str:
    """The table in Markdown: one row per source, targets by who may cause them."""
    rows = ["| from | the system may move it to | a person may move it to | R5 `progress.subjectState` |"]
    rows.append("|---|---|---|---|")
    for source in (ABSENT, *(status.code for status in STATUSES)):
        moves = [
            ", ".join(move.target for move in TRANSITIONS if (move.source, move.who) == (source, who)) or "-"
            for who in ("system", "person")
        ]
        rows.append(f"| {source or '(none)'} | {moves[0]} | {moves[1]} | {source or '-'} |")
    return "\n".join(rows)


def _node(code: str) -> str:
    return code.replace("-", "_") if code else "[*]"
