"""Who may be a candidate: what to look for, and who was found.

A protocol's ``candidates`` clause becomes a :class:`CandidateQuery`; the source room answers it with
:class:`Candidates`. The query is deliberately coarse: it may nominate too many (the evaluator decides),
never too few.
"""

from __future__ import annotations

import msgspec

from adapter.model.issue import Issue

NOMINATING_TYPES = frozenset(
    {
        "AdverseEvent",
        "CarePlan",
        "Condition",
        "DiagnosticReport",
        "Encounter",
        "Observation",
        "Procedure",
        "ResearchSubject",
    }
)


class CandidateQuery(msgspec.Struct, frozen=True):
    """What nominates a patient, as plain strings.

    ``codes`` match as part of any string of a resource, so an ICD-10 stem finds its national extensions
    (``N04.2`` finds ``N04.200x001``); over REST, where a token must be whole, they are sent as written.
    ``texts`` match likewise; both are compared folded (:mod:`adapter.model.wording`). ``studies`` are
    identifiers of a ResearchStudy (``NCT03864250``): its ResearchSubjects are nominated even if they name the
    study by its local id.
    ``resource_types`` are the types whose content nominates their subject.
    """

    codes: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    studies: frozenset[str] = frozenset()
    resource_types: frozenset[str] = NOMINATING_TYPES


class Candidates(msgspec.Struct, frozen=True):
    """Patient ids nominated, with every record merged into or out of them.

    ``read`` are these and whoever has another version of a resource of theirs: to be read with them, but not
    judged. ``unresolved`` counts nominating resources whose subject could not be told from their content;
    each is one of ``issues``.
    """

    ids: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    issues: tuple[Issue, ...] = ()
    unresolved: int = 0
