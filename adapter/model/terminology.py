"""Nouns of ``mappings/``: concepts, codes, units, answers, drugs, routes, and where each row was written.

Every entry carries ``where`` (``mappings/units.csv:17``) so that a conversion or a code reading can be
shown with the line it came from, and a verification level:

====== =======================================================================================
V1     code and name seen together in a public value set, mapping or release
V1r    member of a public value set, full name not seen: text answers decide, numbers only with the
       report's own cut-off
V2     component and check digit right, and a laboratory catalogue uses it so; the site confirms
V3     only component and check digit right: shown to a person, never decides
U      no source found: shown to a person, never decides
SITE   mapped by a named person of the hospital (``mappings/sites/<site>/``)
====== =======================================================================================
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Literal

import msgspec

from adapter.model.facts import Use

Verification = Literal["V1", "V1r", "V2", "V3", "U", "SITE"]
ConceptClass = Literal["finding", "event", "intervention"]
Silence = Literal["unknown", "absent_if_covered"]
Effect = Literal["present", "review", "past", "never"]
RouteEffect = Literal["systemic", "topical", "local_review"]
Cutoff = tuple[tuple[str, str | tuple[str, ...]], ...]

UNVERIFIED: frozenset[str] = frozenset({"V3", "U"})
AS_REPORTED = "as_reported"


class Bounds(msgspec.Struct, frozen=True):
    """Plausibility limits in the canonical unit; both ends belong to the plausible range."""

    low: Fraction
    high: Fraction

    def contains(self, value: Fraction) -> bool:
        return self.low <= value <= self.high


class Concept(msgspec.Struct, frozen=True, cache_hash=True):
    """What a fact can be about (``concepts.yaml``; drugs come from ``drugs.csv``).

    ``unit`` is canonical UCUM, or ``as_reported`` where the assay's own scale is kept and compared only
    with its own range. ``hard``: outside, the value is not used. ``soft``: used with a flag.
    ``exempt_lower_bound`` names the comparators for which the lower hard limit does not apply.
    ``specimens`` is empty where any specimen will do. ``broader`` names the concepts this one is also
    evidence for. ``silence`` says what no record means once that type was completely fetched.
    """

    key: str
    kind: ConceptClass
    label_en: str
    label_zh: str
    silence: Silence
    verified_by: str
    where: str
    unit: str = ""
    hard: Bounds | None = None
    soft: Bounds | None = None
    exempt_lower_bound: tuple[str, ...] = ()
    shape: str = ""
    specimens: tuple[str, ...] = ()
    by_unit: str = ""
    derive: tuple[str, ...] = ()
    duration_h: Bounds | None = None
    default_cutoff: Cutoff = ()
    broader: tuple[str, ...] = ()
    notes: str = ""


class CodeEntry(msgspec.Struct, frozen=True, cache_hash=True):
    """One code or text pattern and the concept it names.

    ``use`` is what this code may do *after* the verification level was applied: V3 and U are SUPP with
    flag CODE_UNVERIFIED, a ``review`` effect is SUPP with flag REVIEW, ``never`` is NEVER. ``flags`` are to
    be added to every fact made from it. ``effect`` matters for conditions only. ``never_for`` names
    the variables this code must never feed.
    """

    system: str
    code: str
    concept: str
    use: Use
    verification: Verification
    where: str
    display: str = ""
    shape: str = ""
    method: str = ""
    specimens: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    never_for: tuple[str, ...] = ()
    effect: Effect = "present"
    note: str = ""

    @property
    def decides(self) -> bool:
        return self.use in ("AUTO", "FLAG")

    @property
    def number_needs_own_cutoff(self) -> bool:
        """V1r: the scale was not seen, so a number means something only beside its own report's limit."""
        return self.verification == "V1r"


class UnitEntry(msgspec.Struct, frozen=True, cache_hash=True):
    """One accepted spelling: canonical value = ``10 ** x if scale == "log10" else x``, x * factor + offset.

    ``flags`` may hold UNIT_REPAIRED (not UCUM, or UCUM with another meaning), UNIT_CONVERTED (factor not 1)
    and UNIT_ASSUMED (no unit was sent; a person of the site named one). ``usable`` is False while the
    site has not confirmed what the spelling means there.
    """

    concept: str
    spelling: str
    unit: str
    where: str
    factor: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    scale: Literal["linear", "log10"] = "linear"
    flags: tuple[str, ...] = ()
    needs_site_confirmation: bool = False
    confirmed: bool = False
    source: str = ""

    @property
    def usable(self) -> bool:
        return self.confirmed or not self.needs_site_confirmation


class AnswerEntry(msgspec.Struct, frozen=True):
    """A qualitative answer. ``meaning`` is positive, weak_positive, negative, equivocal, invalid, or an
    answer of one ``concept`` (``II-III``, ``not_pregnant``)."""

    meaning: str
    system: str
    text: str
    verification: Verification
    where: str
    concept: str = ""
    exact: bool = True
    ordinal_only: bool = False


class DrugEntry(msgspec.Struct, frozen=True):
    """A drug, or (``form_of`` set) a form of one with its own role, such as an ointment."""

    drug: str
    role: str
    classes: tuple[str, ...]
    where: str
    form_of: str = ""
    names_en: tuple[str, ...] = ()
    names_zh: tuple[str, ...] = ()
    long_acting: bool = False
    text_only: bool = False
    note: str = ""

    @property
    def substance(self) -> str:
        return self.form_of or self.drug


class DrugMatch(msgspec.Struct, frozen=True):
    """How a medication was recognised. ``conflict`` lists other substances its codings name (E-17);
    ``also`` those that its text names besides this one (combinations, lists)."""

    entry: DrugEntry
    matched_by: Literal["rxnorm", "atc", "sct", "text", "site"]
    matched: str
    verification: Verification
    use: Use
    where: str
    flags: tuple[str, ...] = ()
    conflict: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


class RouteEntry(msgspec.Struct, frozen=True):
    """A route or dosage-form word: ``systemic``, ``topical`` (skin, eye, ear, nose, lung: not systemic) or
    ``local_review`` (joint, rectal, patch: a person decides)."""

    route: str
    effect: RouteEffect
    text: str
    verification: Verification
    where: str


class SpecimenEntry(msgspec.Struct, frozen=True):
    specimen: str
    text: str
    verification: Verification
    where: str


class RangeEntry(msgspec.Struct, frozen=True):
    """A site's reference limits for one concept, already in the canonical unit."""

    concept: str
    sex: str
    laboratory: str
    start: date | None
    end: date | None
    low: Fraction | None
    high: Fraction | None
    unit: str
    source: str
    where: str
