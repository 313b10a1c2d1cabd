"""Decisions: verdicts with the evidence they rest on.

Every criterion gives ``met``, ``not met`` or ``unknown``. For an exclusion criterion ``met`` means the
exclusion is present. Faces differ (``MET``/``NOT_MET`` for inclusion, ``TRUE``/``FALSE`` for
exclusion); the three values do not.
"""

from __future__ import annotations

from datetime import date
from enum import Enum
from typing import Literal

import msgspec

from adapter.model.facts import Source

Kind = Literal["inclusion", "exclusion", "exit", "endpoint", "dose", "safety", "deviation"]


class Verdict(Enum):
    MET = "met"
    NOT_MET = "not_met"
    UNKNOWN = "unknown"


class Overall(Enum):
    """Eligibility of one subject (protocol.yaml, rule "overall")."""

    ELIGIBLE = "eligible"
    UNDETERMINED = "undetermined"
    INELIGIBLE = "ineligible"


class Evidence(msgspec.Struct, frozen=True, gc=False):
    """One record that a rule looked at, and what it did with it.

    ``role`` is ``used``, ``ignored`` or ``support`` (shown, never decides); ``why`` names the reason
    for the last two. ``original`` is the source's text with unit, ``value`` the canonical value with
    unit, ``conversion`` the step between, ``compared`` the comparison made ("9 g/d > 8 g/d").
    """

    source: Source
    role: Literal["used", "ignored", "support"]
    concept: str = ""
    when: str = ""
    original: str = ""
    value: str = ""
    conversion: str = ""
    compared: str = ""
    why: str = ""
    derived_from: tuple[Source, ...] = ()


class Alternative(msgspec.Struct, frozen=True, gc=False):
    """The verdict under another reading of the same sentence."""

    name: str
    reading: str
    verdict: Verdict


class CriterionResult(msgspec.Struct, frozen=True, gc=False):
    """The verdict on one criterion.

    ``distance`` says how far the deciding value is from the threshold ("1 g/d above"); ``settles``
    what would turn an unknown into a verdict; ``children`` are the results of sub-criteria.
    ``review`` is true when a person has to look before the verdict may be accepted silently.
    """

    id: str
    kind: Kind
    verdict: Verdict
    reason: str
    flags: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    distance: str = ""
    settles: tuple[str, ...] = ()
    review: bool = False
    children: tuple[CriterionResult, ...] = ()

    def walk(self) -> tuple[CriterionResult, ...]:
        """This result and all below it, top down."""
        return (self, *(found for child in self.children for found in child.walk()))


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What one protocol version says about one subject as of one date.

    ``fingerprint`` is a SHA-256 over subject, protocol, as-of date, verdicts, flags and the evidence
    references with versions: equal fingerprints mean nothing relevant changed.
    """

    subject: str
    protocol: str
    protocol_version: str
    as_of: date
    overall: Overall
    criteria: tuple[CriterionResult, ...]
    review: bool = False
    pending: tuple[str, ...] = ()
    fingerprint: str = ""

    def criterion(self, criterion_id: str) -> CriterionResult:
        for top in self.criteria:
            for found in top.walk():
                if found.id == criterion_id:
                    return found
        raise KeyError(criterion_id)
