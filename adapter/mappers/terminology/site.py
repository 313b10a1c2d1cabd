"""What one hospital adds: ``mappings/sites/<site>/codes.csv``, ``units.csv``, ``ranges.csv``.

Each row names the person who answers for it and the day. A site may map its own codes and vouch for codes
nobody else verified; it may not turn a code into something that code is known not to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import NamedTuple, cast

from adapter.errors import MappingError
from adapter.mappers.terminology.check_digits import loinc_problem, snomed_problem
from adapter.mappers.terminology.files import Row, read_rows
from adapter.mappers.terminology.phrases import normalise_unit
from adapter.mappers.terminology.tables import USES, known_concept
from adapter.model.facts import Use
from adapter.model.terminology import AS_REPORTED, CodeEntry, Concept, RangeEntry, UnitEntry
from adapter.model.wording import folded

SITE_CODE = ("system", "code", "text", "concept", "use", "method", "owner", "date")
SITE_UNIT = ("concept", "code", "unit", "kind", "means", "owner", "date")
SITE_RANGE = ("concept", "sex", "lab", "from", "to", "low", "high", "unit", "source")
KNOWN_WRONG = ("system", "code", "labelled_as", "must_not_map_to", "really", "note")

UnitFor = Callable[[str, str], UnitEntry | None]


class SiteOverlay(NamedTuple):
    """``codes`` by (system, code), ``texts`` by normalised text, ``units`` by (concept, code, kind).

    ``spellings``: what a unit as only this site writes it means, by (concept, code, spelling).
    """

    codes: Mapping[tuple[str, str], CodeEntry] = {}
    texts: Mapping[str, CodeEntry] = {}
    units: Mapping[tuple[str, str, str], tuple[str, str]] = {}
    spellings: Mapping[tuple[str, str, str], tuple[str, str]] = {}
    ranges: tuple[RangeEntry, ...] = ()

    def confirms(self, concept: str, code: str, spelling: str) -> str:
        """Where the site confirms what this unit means for this test, or ""."""
        for key in ((concept, code, "confirm"), (concept, "", "confirm")):
            unit, where = self.units.get(key, ("", ""))
            if unit == spelling:
                return where
        return ""

    def spelled(self, concept: str, code: str, spelling: str) -> tuple[str, str]:
        """The accepted unit that the site's own spelling means, and where it says so; or ("", "")."""
        own = self.spellings
        return own.get((concept, code, spelling)) or own.get((concept, "", spelling)) or ("", "")

    def default_unit(self, concept: str, code: str) -> tuple[str, str]:
        """The unit a person of the site named for results that come without one, and where; or ("", "")."""
        return (
            self.units.get((concept, code, "default")) or self.units.get((concept, "", "default")) or ("", "")
        )


def read_known_wrong(root: Path) -> dict[tuple[str, str], Row]:
    """Codes that public lists label wrongly, and what they really are."""
    rows = read_rows(root / "codes" / "known_wrong.csv", KNOWN_WRONG, root)
    return {(row["system"], row["code"]): row for row in rows}


def read_site(
    root: Path,
    site: str,
    concepts: Mapping[str, Concept],
    systems: Mapping[str, str],
    standard: Mapping[tuple[str, str], CodeEntry],
    unit_for: UnitFor,
) -> SiteOverlay:
    folder = root / "sites" / site
    if not folder.is_dir():
        name = folder.relative_to(root.parent).as_posix()
        raise MappingError(
            f"there is no site {site!r}", where=name, fix="create the folder or correct the name"
        )
    codes, texts = _codes(folder, root, concepts, systems, standard)
    units, spellings = _units(folder, root, concepts, unit_for)
    return SiteOverlay(codes, texts, units, spellings, _ranges(folder, root, concepts, unit_for))


def _optional(path: Path, columns: tuple[str, ...], root: Path) -> Iterable[Row]:
    return read_rows(path, columns, root) if path.exists() else ()


def _owned(row: Row) -> None:
    if not row["owner"] or row.day("date") is None:
        row.wrong("no owner or date", "name the person who answers for this row, and the day (YYYY-MM-DD)")


def _codes(
    folder: Path,
    root: Path,
    concepts: Mapping[str, Concept],
    systems: Mapping[str, str],
    standard: Mapping[tuple[str, str], CodeEntry],
) -> tuple[dict[tuple[str, str], CodeEntry], dict[str, CodeEntry]]:
    codes: dict[tuple[str, str], CodeEntry] = {}
    texts: dict[str, CodeEntry] = {}
    wrong = read_known_wrong(root)
    for row in _optional(folder / "codes.csv", SITE_CODE, root):
        _owned(row)
        concept = concepts[known_concept(row, concepts)]
        system = systems.get(row["system"], row["system"])
        key = (system, row["code"])
        use = cast(Use, row.one_of("use", USES))
        _refuse_wrong(row, key, concept.key, use, wrong, standard)
        base = standard.get(key)
        entry = CodeEntry(
            system=system,
            code=row["code"],
            concept=concept.key,
            use=use,
            verification="SITE",
            where=row.where,
            display=row["text"] or (base.display if base else ""),
            shape=base.shape if base and base.shape != "unknown" else concept.shape,
            method=row["method"] or (base.method if base else ""),
            specimens=base.specimens if base else (),
            flags=("SITE_MAPPED",) if use == "FLAG" else (),
        )
        if not row["code"] and not row["text"]:
            row.wrong("neither code nor text", "write the local code, or the exact text the laboratory sends")
        if row["code"]:
            if key in codes:
                row.wrong(f"{' '.join(key)} stands twice", f"keep one (the other is {codes[key].where})")
            codes[key] = entry
        if row["text"]:
            other = texts.setdefault(folded(row["text"]), entry)
            if other.concept != entry.concept:
                row.wrong(
                    f"the same text means {other.concept} in {other.where}", "leave text empty in one row"
                )
    return codes, texts


def _refuse_wrong(
    row: Row,
    key: tuple[str, str],
    concept: str,
    use: Use,
    wrong: Mapping[tuple[str, str], Row],
    standard: Mapping[tuple[str, str], CodeEntry],
) -> None:
    system, code = key
    listed = wrong.get(key)
    if listed and ("*" in listed.many("must_not_map_to") or concept in listed.many("must_not_map_to")):
        row.wrong(
            f"{system} {code} is not {concept}: it is {listed['really']}",
            f"look the code up again; public lists label it {listed['labelled_as']!r} ({listed.where})",
        )
    problem = {"loinc": loinc_problem, "sct": snomed_problem}.get(system, lambda _: "")(code) if code else ""
    if problem:
        row.wrong(f"{system} {code}: {problem}", "copy the code again from its source, as text")
    base = standard.get(key)
    if base and base.use == "NEVER" and use != "NEVER":
        row.wrong(
            f"{system} {code} ({base.display}) must never be used as {concept}",
            f"map the laboratory's own code instead; see {base.where}",
        )
    if base and concept in base.never_for and use != "NEVER":
        row.wrong(f"{system} {code} ({base.display}) must never feed {concept}", f"see {base.where}")


_Units = dict[tuple[str, str, str], tuple[str, str]]


def _units(
    folder: Path, root: Path, concepts: Mapping[str, Concept], unit_for: UnitFor
) -> tuple[_Units, _Units]:
    """What the site names or confirms, by kind; and its own spellings."""
    units: _Units = {}
    spellings: _Units = {}
    for row in _optional(folder / "units.csv", SITE_UNIT, root):
        _owned(row)
        concept = known_concept(row, concepts)
        spelling = normalise_unit(row["unit"])
        kind = row.one_of("kind", ("default", "confirm", "spelling"))
        if kind == "spelling":
            key, target, meant = (concept, row["code"], spelling), spellings, normalise_unit(row["means"])
            if not spelling or unit_for(concept, spelling) is not None:
                row.wrong(
                    f"{row['unit']!r} needs no spelling row", "use default or confirm; units.csv knows it"
                )
        else:
            key, target, meant = (concept, row["code"], kind), units, spelling
            if row["means"]:
                row.wrong("means is for rows of kind spelling", "leave it empty")
        entry = unit_for(concept, meant)
        if entry is None or (kind == "spelling" and entry.needs_site_confirmation):
            row.wrong(f"{meant!r} is not an accepted unit of {concept}", "use a spelling of units.csv")
        if key in target:
            row.wrong(f"{' '.join(key)} stands twice", f"keep one (the other is {target[key][1]})")
        target[key] = (meant, row.where)
    return units, spellings


def _ranges(
    folder: Path, root: Path, concepts: Mapping[str, Concept], unit_for: UnitFor
) -> tuple[RangeEntry, ...]:
    found: list[RangeEntry] = []
    for row in _optional(folder / "ranges.csv", SITE_RANGE, root):
        concept = known_concept(row, concepts)
        unit = unit_for(concept, normalise_unit(row["unit"]))
        if unit is None or unit.scale != "linear":
            row.wrong(f"{row['unit']!r} is not an accepted unit of {concept}", "use a spelling of units.csv")
        if not row["source"]:
            row.wrong("no source", "name the document the limits come from")
        limits = [
            row.number(side) * unit.factor + unit.offset if row[side] else None for side in ("low", "high")
        ]
        if limits == [None, None]:
            row.wrong("neither low nor high", "write at least one limit")
        found.append(
            RangeEntry(
                concept=concept,
                sex=row.one_of("sex", ("", "male", "female")),
                laboratory=row["lab"],
                start=row.day("from"),
                end=row.day("to"),
                low=limits[0],
                high=limits[1],
                unit=concepts[concept].unit if concepts[concept].unit != AS_REPORTED else row["unit"],
                source=row["source"],
                where=row.where,
            )
        )
    return tuple(found)


def range_on(
    ranges: Iterable[RangeEntry], concept: str, sex: str, laboratory: str, day: date | None
) -> RangeEntry | None:
    """The one range that applies, the most specific first; None if none applies or several equally do (E-32).

    Without a ``day`` only ranges without dates apply: limits change, and a guess would be silent.
    """
    fitting = [
        entry
        for entry in ranges
        if entry.concept == concept
        and entry.sex in ("", sex)
        and entry.laboratory in ("", laboratory)
        and (entry.start is None or (day is not None and entry.start <= day))
        and (entry.end is None or (day is not None and day <= entry.end))
    ]
    if not fitting:
        return None
    best = max(bool(entry.sex) + bool(entry.laboratory) for entry in fitting)
    top = [entry for entry in fitting if bool(entry.sex) + bool(entry.laboratory) == best]
    return top[0] if len(top) == 1 else None
