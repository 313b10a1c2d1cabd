"""The lookups mappers use: from what a hospital sent to what it means, and where that is written.

Loaded once per process from ``mappings/`` and, over it, one site. Nothing is guessed: a code, unit or answer
that no table holds gives None, and the mapper makes an issue of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path
from types import MappingProxyType

import msgspec

from adapter.mappers.terminology.check_digits import loinc_problem, snomed_problem
from adapter.mappers.terminology.concepts import read_concepts
from adapter.mappers.terminology.drugs import DrugRow, DrugTable, choose
from adapter.mappers.terminology.files import read_rows
from adapter.mappers.terminology.indexes import AnswerIndex, ConditionIndex, WordIndex, stems
from adapter.mappers.terminology.phrases import Phrases, normalise_unit
from adapter.mappers.terminology.site import SiteOverlay, range_on, read_site
from adapter.mappers.terminology.tables import (
    drug_concepts,
    read_answers,
    read_codes,
    read_drug_classes,
    read_drugs,
    read_routes,
    read_specimens,
    read_units,
)
from adapter.model.facts import Coding
from adapter.model.terminology import (
    AS_REPORTED,
    AnswerEntry,
    CodeEntry,
    Concept,
    DrugEntry,
    DrugMatch,
    RangeEntry,
    RouteEntry,
    SpecimenEntry,
    UnitEntry,
)
from adapter.model.wording import folded

MARKER_MEANINGS = ("uncertain", "excluded", "history", "family", "herbal_formula")


class Terminology:
    """All tables of ``mappings/``, validated. Lookups are pure: same input, same answer."""

    def __init__(self, mappings_dir: Path, site: str | None) -> None:
        root = Path(mappings_dir).resolve()
        self.site = site or ""
        written = read_concepts(root)
        drugs = [DrugRow(*row) for row in read_drugs(root)]
        groups = list(read_drug_classes(root))
        everything = [row.entry for row in drugs] + [group[3] for group in groups]
        self.concepts: Mapping[str, Concept] = MappingProxyType(written | drug_concepts(everything, written))
        self._systems = {row["uri"]: row["system"] for row in read_rows(
            root / "codes" / "systems.csv", ("uri", "system"), root)}  # fmt: skip
        self._codes = {
            (entry.system, entry.code): entry
            for file, system in (("loinc.csv", "loinc"), ("local.csv", "local"))
            for entry in read_codes(root, file, system, written)
        }
        self._conditions = ConditionIndex(root, written)
        units, self._never_convert = read_units(root, written)
        self._units = {(entry.concept, entry.spelling): entry for entry in units}
        self._answers = AnswerIndex(read_answers(root, written))
        # "关节腔注射" is into a joint although 注射 alone is systemic: the least systemic word wins.
        self._routes: WordIndex[RouteEntry] = WordIndex(
            read_routes(root), lambda entry: entry.effect, ("topical", "local_review", "systemic")
        )
        self._specimens: WordIndex[SpecimenEntry] = WordIndex(
            read_specimens(root), lambda entry: entry.specimen
        )
        said: dict[str, str] = {}
        herbal: dict[str, str] = {}
        for row in read_rows(root / "codes" / "text_markers.csv", ("marker", "meaning", "language"), root):
            words = herbal if row["meaning"] == "herbal_formula" else said
            words[row["marker"]] = row.one_of("meaning", MARKER_MEANINGS)
        self._markers: Phrases[str] = Phrases(said)
        self._drugs = DrugTable(drugs, groups, Phrases(herbal))
        self._overlay = SiteOverlay()
        if site:
            self._overlay = read_site(
                root, site, self.concepts, self._systems, self._codes, self._unit_of_tables
            )

    @classmethod
    def load(cls, mappings_dir: Path, site: str | None = None) -> Terminology:
        """Read and validate ``mappings_dir`` (and ``sites/<site>`` over it).

        Raises:
            MappingError: naming ``file:line`` and the fix, for the first thing that is wrong.
        """
        return cls(mappings_dir, site)

    # ---- codes -------------------------------------------------------------------------------

    def system(self, uri: str) -> str:
        """The short name of a code system (``loinc``, ``sct``, ``icd-10`` ...), or the URI if it has none."""
        return self._systems.get(uri, uri)

    def code_problem(self, system: str, code: str) -> str:
        """Why this cannot be a code of its system (E-30), or "": LOINC and SNOMED CT have check digits."""
        check = {"loinc": loinc_problem, "sct": snomed_problem}.get(self.system(system))
        return check(code) if check else ""

    def concepts_for_coding(self, system: str, code: str, text: str = "") -> tuple[CodeEntry, ...]:
        """Every reading of one coding, the site's first, then the most specific.

        An ICD code can be several things (C44 is a malignant neoplasm and a non-melanoma skin cancer;
        ``M32.102+N16.4*`` is two codes). ``text`` is used only against the site's own list of texts.
        """
        short = self.system(system)
        for key in ((short, code), ("", code)):
            if code and key in self._overlay.codes:
                return (self._overlay.codes[key],)
        entry = self._codes.get((short, code))
        if entry is None and short not in self._systems.values():
            entry = self._codes.get(("local", code))
        if entry is not None:
            return (entry,)
        found = self._conditions.of(short, code)
        if not found and text:
            mapped = self._overlay.texts.get(folded(text))
            return (mapped,) if mapped else ()
        return found

    def concept_for_coding(self, system: str, code: str, text: str = "") -> CodeEntry | None:
        """The first of :meth:`concepts_for_coding`, or None."""
        return next(iter(self.concepts_for_coding(system, code, text)), None)

    def concepts_for_text(self, text: str) -> tuple[CodeEntry, ...]:
        """What a diagnosis text names, longest wording first. Ask :meth:`markers_in` before believing it."""
        mapped = self._overlay.texts.get(folded(text))
        return ((mapped,) if mapped else ()) + self._conditions.in_text(text)

    def markers_in(self, text: str) -> tuple[str, ...]:
        """What the wording adds: ``uncertain`` (待查), ``excluded`` (除外), ``history``, ``family``."""
        return tuple(sorted({item.value for item in self._markers.within(text)[0]}))

    def entries(self) -> tuple[CodeEntry, ...]:
        """Every code and wording of the tables and of the site."""
        overlay = (*self._overlay.codes.values(), *self._overlay.texts.values())
        return (*self._codes.values(), *self._conditions.entries(), *overlay)

    def patterns_of(self, concepts: Collection[str]) -> tuple[frozenset[str], frozenset[str]]:
        """The codes and the wordings that may name these concepts, verified or not, for a coarse search.

        An ICD pattern is a stem, with and without its dot; a range is written out. Codes known never
        to mean the concept are left out. Site codes and texts are included.
        """
        codes: set[str] = set()
        texts: set[str] = set()
        for entry in (*self._codes.values(), *self._overlay.codes.values(), *self._overlay.texts.values()):
            if entry.concept in concepts and entry.use != "NEVER":
                codes |= {entry.code} - {""}
                texts |= {entry.display} - {""} if entry.verification == "SITE" else set()
        for match, entry in self._conditions.rows:
            if entry.concept in concepts and entry.use != "NEVER":
                (texts if match == "contains" else codes).update(stems(match, entry.code))
        for system, code, drug in self._drugs.patterns():
            if drug in concepts:
                (texts if system == "text" else codes).add(code)
        return frozenset(codes), frozenset(texts)

    # ---- units and ranges --------------------------------------------------------------------

    def unit_for(self, concept: str, spelling: str, code: str = "") -> UnitEntry | None:
        """How a unit as written converts to the concept's canonical unit; None if it is not on the list.

        Check ``usable``: some spellings mean something only after the site has confirmed them. ``code`` is
        the test's code as sent, for confirmations that hold for one test.
        """
        normal = normalise_unit(spelling)
        meant, where = self._overlay.spelled(concept, code, normal)
        if meant and (named := self._unit_of_tables(concept, meant)):
            flags = tuple(sorted({*named.flags, "UNIT_REPAIRED"}))
            return msgspec.structs.replace(named, spelling=normal, where=where, flags=flags)
        entry = self._unit_of_tables(concept, normal)
        if entry is None or not entry.needs_site_confirmation:
            return entry
        where = self._overlay.confirms(concept, code, normal)
        return msgspec.structs.replace(entry, confirmed=True, where=where) if where else entry

    def units(self) -> tuple[UnitEntry, ...]:
        """Every accepted spelling of every concept, with what the site confirmed for all its tests."""
        return tuple(
            entry for concept, spelling in self._units if (entry := self.unit_for(concept, spelling))
        )

    def default_unit(self, concept: str, code: str = "") -> UnitEntry | None:
        """The unit a person of the site named for results sent without one (flag UNIT_ASSUMED), or None."""
        spelling, where = self._overlay.default_unit(concept, code)
        entry = self.unit_for(concept, spelling, code) if where else None
        if entry is None:
            return None
        return msgspec.structs.replace(
            entry, where=where, confirmed=True, flags=(*entry.flags, "UNIT_ASSUMED")
        )

    def never_converts(self, spelling: str) -> bool:
        """Whether the unit is known and deliberately not convertible (titre, copies, ratios, S/CO)."""
        return normalise_unit(spelling) in self._never_convert

    def range_for(
        self, concept: str, sex: str, laboratory: str = "", day: date | None = None
    ) -> RangeEntry | None:
        """The site's reference limits in canonical units; None if none or no single one applies."""
        return range_on(self._overlay.ranges, concept, sex, laboratory, day)

    def _unit_of_tables(self, concept: str, normal: str) -> UnitEntry | None:
        entry = self._units.get((concept, normal))
        known = self.concepts.get(concept)
        if entry is None and known is not None and known.unit == AS_REPORTED:
            return UnitEntry(concept, normal, normal, known.where)
        return entry

    # ---- answers, specimens, routes ----------------------------------------------------------

    def answer_for(
        self, codings: Iterable[Coding] = (), text: str = "", *, ordinal: bool, concept: str = ""
    ) -> AnswerEntry | None:
        """A qualitative result. ``ordinal`` says that the test's code is ordinal: only then is a lone "+",
        "-" or "N" an answer. Contradicting codes or words give None: never a default."""
        found = {
            entry.meaning: entry
            for coding in codings
            if (entry := self._answers.by_code(self.system(coding.system), coding.code, concept))
        }
        if found:
            return next(iter(found.values())) if len(found) == 1 else None
        return self._answers.by_text(text, ordinal, concept) if text else None

    def specimen_for(self, codings: Iterable[Coding] = (), text: str = "") -> SpecimenEntry | None:
        return self._specimens.find(((self.system(c.system), c.code) for c in codings), text)

    def specimen_fits(self, concept: str, specimen: str) -> bool:
        """False if a reading of this concept cannot come from that specimen (E-18); "" always fits."""
        allowed = self.concepts[concept].specimens
        return not specimen or not allowed or specimen in allowed

    def route_for(self, codings: Iterable[Coding] = (), text: str = "") -> RouteEntry | None:
        """The coded route, else what the words say; with several words the least systemic one."""
        return self._routes.find(((self.system(c.system), c.code) for c in codings), text)

    # ---- drugs -------------------------------------------------------------------------------

    def drugs(self) -> tuple[DrugEntry, ...]:
        """Every drug, form and group, in table order."""
        return tuple(self._drugs.entries.values())

    def drug(self, key: str) -> DrugEntry | None:
        return self._drugs.entries.get(key)

    def drugs_in_class(self, name: str) -> tuple[DrugEntry, ...]:
        return tuple(entry for entry in self._drugs.entries.values() if name in entry.classes)

    def drug_for(self, codings: Iterable[Coding] = (), text: str = "") -> DrugMatch | None:
        """The drug a medication is. Verified codes decide; the name refines them to a form (an ointment) and
        stands in where no verified code is known. A code's display is never believed over the code (E-49)."""
        codings = tuple(codings)
        matches = [match for coding in codings if (match := self._by_code(coding))]
        best = choose(matches)
        names = [
            self._drugs.by_text(words) for words in (text, *(coding.display for coding in codings)) if words
        ]
        named = next((match for match in names if match), None)
        if best is None or (best.use == "SUPP" and "CODE_UNVERIFIED" in best.flags):
            return named or best
        if named and named.entry.form_of == best.entry.drug and best.matched_by != "site":
            return msgspec.structs.replace(best, entry=named.entry, where=named.where, also=named.also)
        return best

    def _by_code(self, coding: Coding) -> DrugMatch | None:
        short = self.system(coding.system)
        for key in ((short, coding.code), ("", coding.code)):
            mapped = self._overlay.codes.get(key) if coding.code else None
            entry = self._drugs.entries.get(mapped.concept) if mapped else None
            if mapped and entry:
                return DrugMatch(entry, "site", coding.code, "SITE", mapped.use, mapped.where, mapped.flags)
        return self._drugs.by_code(short, coding.code)
