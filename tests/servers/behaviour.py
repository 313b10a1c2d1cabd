"""What a server does where FHIR R4 lets servers differ: one row a server, proved by the contract suite.

Sources: https://hl7.org/fhir/R4/http.html (delete, concurrency, transaction), search.html (errors, paging).
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Behaviour(NamedTuple):
    """``unknown_parameter``: a search parameter it does not know is refused or left out of account.
    ``deleted``, ``stale``: HTTP status of a deleted resource, and of an update whose If-Match is not current.
    ``dangling``: takes references to what it does not have. ``versioned``: finds a patient's resources also
    where their reference names a version. ``digits``: gives decimals back with the digits they came with.
    ``at_once``: updates in one transaction. ``lacks``: types of ours that it does not announce. ``rung``: the
    best way of write-back that its ``/metadata`` offers.
    """

    unknown_parameter: Literal["refused", "ignored"]
    deleted: Literal[404, 410]
    stale: Literal[409, 412]
    dangling: bool
    versioned: bool
    digits: bool
    at_once: int = 10_000
    rung: str = "ResearchSubject"
    lacks: frozenset[str] = frozenset()


HAPI = Behaviour(
    unknown_parameter="refused", deleted=410, stale=409, dangling=False, versioned=True, digits=True
)
SEKMET = Behaviour(
    unknown_parameter="ignored",
    deleted=410,
    stale=412,
    dangling=True,
    versioned=True,
    digits=False,
    rung="Task",
    lacks=frozenset({"AdverseEvent", "QuestionnaireResponse", "ResearchStudy", "ResearchSubject"}),
)
MEDPLUM = Behaviour(
    unknown_parameter="refused",
    deleted=404,
    stale=412,
    dangling=True,
    versioned=False,
    digits=False,
    at_once=50,
)
