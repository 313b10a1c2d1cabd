"""What a diagnosis or procedure is about: codes first, then wording, then what the wording takes back.

``肺栓塞?``, ``肺栓塞待查`` and ``除外肺栓塞`` may carry the code of pulmonary embolism and mean
something else (E-43, E-44). So the wording of a concept weakens what its codes say; it never makes a
diagnosis firmer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple

from adapter.mappers import r4
from adapter.mappers.context import Context, codings_of
from adapter.mappers.terminology import Terminology
from adapter.model.facts import Coding, Use
from adapter.model.terminology import UNVERIFIED, CodeEntry

Presence = Literal["present", "past", "unconfirmed", "refuted"]

STAGE = "mn_stage"
_PRIMARY_WORDING = "primary_wording"
_MEMBRANOUS = "membranous_nephropathy"
_USES = ("AUTO", "FLAG", "SUPP", "NEVER")


class Reading(NamedTuple):
    """One concept that a code or a wording names.

    ``doubtful`` is true for a code to be reviewed (I80.3, R75) of a concept that other codes decide: it may
    be so, a person says. Concepts that only have such codes (latent tuberculosis) are sure; what they mean
    for a trial is the protocol's to say.
    """

    entry: CodeEntry
    coding: Coding
    doubtful: bool = False

    @property
    def use(self) -> Use:
        """A reviewed code counts as what it says; one that nobody verified (V3, U) still decides nothing."""
        if self.entry.effect == "review" and self.entry.verification not in UNVERIFIED:
            return "AUTO"
        return self.entry.use


class Diagnosis(NamedTuple):
    """``readings`` has one entry per concept; ``coding`` stands for an unmapped one.

    ``markers`` are ``uncertain``, ``excluded``, ``history``, ``family``; ``invalid`` the systems of codes
    that cannot be codes of their system (E-30).
    """

    readings: tuple[Reading, ...]
    coding: Coding
    markers: frozenset[str]
    invalid: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return not self.readings and not self.coding.code and not self.coding.display

    def presence(self, stated: Presence, reading: Reading | None = None) -> Presence:
        """The status as stated, weakened by the wording and by what the code itself means (Z85 is past)."""
        if stated == "refuted" or "excluded" in self.markers:
            return "refuted"
        if stated == "unconfirmed" or "uncertain" in self.markers or (reading and reading.doubtful):
            return "unconfirmed"
        if stated == "past" or "history" in self.markers or (reading and reading.entry.effect == "past"):
            return "past"
        return "present"

    @property
    def excluded(self) -> str:
        """A family history is nobody's own diagnosis."""
        return "FAMILY_HISTORY" if "family" in self.markers else ""


def diagnosis_of(concepts: Iterable[r4.CodeableConcept | None], context: Context) -> Diagnosis:
    """Read all codings and the words of one concept (or of several that say one thing together)."""
    terminology = context.terminology
    best: dict[str, Reading] = {}
    invalid: list[str] = []
    codings: list[Coding] = []
    texts: list[str] = []
    for concept in concepts:
        if concept is None:
            continue
        texts += [text for text in (concept.text, *(one.display for one in concept.coding)) if text]
        for coding in codings_of(concept):
            codings.append(coding)
            if coding.code and terminology.code_problem(coding.system, coding.code):
                invalid.append(terminology.system(coding.system))
                continue
            for entry in terminology.concepts_for_coding(coding.system, coding.code, coding.display):
                _keep(best, _reading(entry, coding, context))
    for text in dict.fromkeys(texts):
        words = next((one for one in codings if one.display == text), Coding(display=text))
        for entry in terminology.concepts_for_text(text):
            _keep(best, _reading(entry, words, context))
    if _PRIMARY_WORDING in best and not any(_MEMBRANOUS in concept for concept in best):
        del best[_PRIMARY_WORDING]  # 原发性高血压 is about something else
    markers = frozenset(marker for text in texts for marker in terminology.markers_in(text))
    return Diagnosis(
        tuple(best[concept] for concept in sorted(best)),
        codings[0] if codings else Coding(),
        markers,
        tuple(dict.fromkeys(invalid)),
    )


def _reading(entry: CodeEntry, coding: Coding, context: Context) -> Reading:
    doubtful = entry.effect == "review" and entry.concept in _decided(context.terminology)
    return Reading(entry, coding, doubtful)


@lru_cache(maxsize=4)
def _decided(terminology: Terminology) -> frozenset[str]:
    """The concepts that some verified code or wording decides without review."""
    return frozenset(entry.concept for entry in terminology.entries() if entry.decides)


def _keep(best: dict[str, Reading], reading: Reading) -> None:
    """The reading that may do most decides; of equals the first (a code before a wording)."""
    known = best.get(reading.entry.concept)
    if known is None or _rank(reading) < _rank(known):
        best[reading.entry.concept] = reading


def _rank(reading: Reading) -> tuple[bool, int]:
    return reading.doubtful, _USES.index(reading.use)


def stage_of(readings: Iterable[Reading], context: Context) -> tuple[Reading, str] | None:
    """The stage of membranous nephropathy that a diagnosis code names, ``I`` to ``V``."""
    for reading in readings:
        if reading.entry.concept == STAGE:
            answer = context.terminology.answer_for(
                (reading.coding,), reading.coding.display, ordinal=True, concept=STAGE
            )
            if answer is not None:
                return reading, answer.meaning
    return None
