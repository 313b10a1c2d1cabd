"""From the rows of ``mappings/`` to validated entries: what a wrong table can look like is known here.

Checked: known concept, allowed words, LOINC and SNOMED check digits, ATC pattern, exact factors,
canonical unit of the concept, uniqueness. Applied: the verification level (V3 and U never decide).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import cast, get_args

from adapter.mappers.terminology.check_digits import loinc_problem, snomed_problem
from adapter.mappers.terminology.files import Row, read_rows
from adapter.mappers.terminology.phrases import normalise_unit
from adapter.model.facts import Use
from adapter.model.terminology import (
    UNVERIFIED,
    AnswerEntry,
    CodeEntry,
    Concept,
    DrugEntry,
    Effect,
    RouteEffect,
    RouteEntry,
    SpecimenEntry,
    UnitEntry,
    Verification,
)
from adapter.model.wording import folded

CODE = (
    "code", "concept", "display", "shape", "use", "verification", "method", "specimen", "flag",
    "never_for", "note", "source",
)  # fmt: skip
CONDITION = ("concept", "system", "match", "code", "effect", "verification", "note")
UNIT = (
    "concept",
    "spelling",
    "unit",
    "factor",
    "offset",
    "scale",
    "flag",
    "needs_site_confirmation",
    "source",
)
ANSWER = ("meaning", "system", "code_or_text", "concept", "match", "ordinal_only", "verification", "source")
DRUG = (
    "drug", "form_of", "name_en", "names_zh", "not_text", "rxnorm", "rxnorm_ver", "atc", "atc_old",
    "atc_ver", "snomed", "snomed_ver", "role", "classes", "long_acting", "source", "note",
)  # fmt: skip
DRUG_CLASS = ("system", "code", "match", "drug", "role", "classes", "verification", "note")
ROUTE = ("system", "code_or_text", "route", "effect", "verification", "source")
SPECIMEN = ("system", "code_or_text", "specimen", "verification", "source")

USES: tuple[str, ...] = get_args(Use)
VERIFICATIONS = ("V1", "V1r", "V2", "V3", "U")
SHAPES = (
    "quantity", "semi_quantity", "ordinal", "titre", "quantity_or_ordinal", "coded", "panel",
    "narrative", "document", "unknown",
)  # fmt: skip
ROLES = (
    "E5", "E5_REVIEW", "NOT_E5", "CYP3A4_INHIBITOR", "CYP3A4_INDUCER", "CYP3A4_MINIMAL", "ACEI",
    "ARB", "ARNI", "CONTEXT",
)  # fmt: skip
MEANINGS = ("positive", "weak_positive", "negative", "equivocal", "invalid")
_ATC = re.compile(r"[A-Z]\d\d[A-Z]{2}\d\d")


def verified(row: Row, column: str = "verification") -> Verification:
    return cast(Verification, row.one_of(column, VERIFICATIONS))


def check_code(system: str, code: str, row: Row) -> str:
    """The code itself, if its system allows such a code."""
    problem = {"loinc": loinc_problem, "sct": snomed_problem}.get(system, lambda _: "")(code)
    if system == "atc" and not _ATC.fullmatch(code):
        problem = "an ATC code is a letter, two digits, two letters, two digits"
    if system == "rxnorm" and not code.isdigit():
        problem = "an RxNorm CUI is digits"
    if problem:
        row.wrong(f"{system} {code}: {problem}", "copy the code again from its source, as text")
    return code


def unique(seen: dict[tuple[str, ...], str], key: tuple[str, ...], row: Row) -> None:
    if key in seen:
        row.wrong(f"{' '.join(key)} stands twice", f"keep one (the other is {seen[key]})")
    seen[key] = row.where


def known_concept(row: Row, concepts: Mapping[str, Concept], column: str = "concept") -> str:
    key = row[column]
    if key not in concepts:
        row.wrong(f"unknown concept {key!r}", "add it to concepts.yaml or correct the spelling")
    return key


# ---- codes -----------------------------------------------------------------------------------


def read_codes(root: Path, file: str, system: str, concepts: Mapping[str, Concept]) -> Iterator[CodeEntry]:
    """Observation codes: ``codes/loinc.csv`` and ``codes/local.csv``."""
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "codes" / file, CODE, root):
        unique(seen, (system, row["code"]), row)
        use = cast(Use, row.one_of("use", USES))
        level = verified(row)
        flags = row.many("flag")
        if use == "FLAG" and not flags:
            row.wrong("use FLAG without a flag", "name the flag that every such result carries")
        use, flags = decided(use, level, flags)
        yield CodeEntry(
            system=system,
            code=check_code(system, row["code"], row),
            concept=known_concept(row, concepts),
            use=use,
            verification=level,
            where=row.where,
            display=row["display"],
            shape=row.one_of("shape", SHAPES),
            method=row["method"],
            specimens=row.many("specimen"),
            flags=flags,
            never_for=row.many("never_for"),
            note=row["note"],
        )


def decided(use: Use, level: Verification, flags: tuple[str, ...]) -> tuple[Use, tuple[str, ...]]:
    """What a code may do at its verification level: V3 and U are shown and never decide."""
    if level in UNVERIFIED:
        return ("NEVER" if use == "NEVER" else "SUPP"), (*flags, "CODE_UNVERIFIED")
    return use, flags


def read_conditions(root: Path, concepts: Mapping[str, Concept]) -> Iterator[tuple[str, CodeEntry]]:
    """Diagnosis codes and text patterns, each with how it matches: prefix, exact, range or contains."""
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "codes" / "conditions.csv", CONDITION, root):
        system = row.one_of("system", ("icd-10", "icd-10-cm", "icd-9-cm", "sct", "text"))
        match = row.one_of("match", ("prefix", "exact", "range", "contains"))
        if (system == "text") != (match == "contains"):
            row.wrong(
                "match 'contains' belongs to text and to nothing else",
                "write prefix, exact or range for codes",
            )
        unique(seen, (row["concept"], system, folded(row["code"])), row)
        level = verified(row)
        effect = cast(Effect, row.one_of("effect", get_args(Effect)))
        use: Use = {"present": "AUTO", "past": "AUTO", "review": "SUPP", "never": "NEVER"}[effect]  # type: ignore[assignment]
        use, flags = decided(use, level, ("REVIEW",) if effect == "review" else ())
        yield (
            match,
            CodeEntry(
                system=system,
                code=check_code(system, row["code"], row),
                concept=known_concept(row, concepts),
                use=use,
                verification=level,
                where=row.where,
                shape="coded",
                flags=flags,
                effect=effect,
                note=row["note"],
            ),
        )


# ---- units, answers, words -------------------------------------------------------------------


def read_units(root: Path, concepts: Mapping[str, Concept]) -> tuple[list[UnitEntry], frozenset[str]]:
    """The accepted spellings, and those that are known never to convert."""
    entries: list[UnitEntry] = []
    never: set[str] = set()
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "units.csv", UNIT, root):
        spelling = normalise_unit(row["spelling"])
        unique(seen, (row["concept"], spelling), row)
        flag = row.one_of("flag", ("", "UNIT_REPAIRED", "UNIT_CONVERTED", "NEVER_CONVERT"))
        if row["concept"] == "*":
            if flag != "NEVER_CONVERT":
                row.wrong("concept * without NEVER_CONVERT", "a factor belongs to one concept: name it")
            never.add(spelling)
            continue
        concept = concepts[known_concept(row, concepts)]
        if row["unit"] != concept.unit:
            row.wrong(
                f"converts to {row['unit']!r}, but {concept.key} is kept in {concept.unit}", "convert to that"
            )
        factor = row.number("factor")
        if factor <= 0:
            row.wrong("the factor is not positive", "write what the reported number is multiplied with")
        entries.append(
            UnitEntry(
                concept=concept.key,
                spelling=spelling,
                unit=concept.unit,
                where=row.where,
                factor=factor,
                offset=row.number("offset", default=Fraction(0)),
                scale="log10" if row.one_of("scale", ("", "log10")) else "linear",
                flags=(flag,) if flag else (),
                needs_site_confirmation=row.one_of("needs_site_confirmation", ("yes", "no")) == "yes",
                source=row["source"],
            )
        )
    return entries, frozenset(never)


def read_answers(root: Path, concepts: Mapping[str, Concept]) -> Iterator[AnswerEntry]:
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "answers.csv", ANSWER, root):
        system = row.one_of("system", ("sct", "loinc", "text", "v2-0078"))
        unique(seen, (row["concept"], system, folded(row["code_or_text"])), row)
        if row["concept"]:
            known_concept(row, concepts)
        else:
            row.one_of("meaning", MEANINGS)
        if system == "sct":
            check_code(system, row["code_or_text"], row)
        yield AnswerEntry(
            meaning=row["meaning"],
            system=system,
            text=row["code_or_text"],
            verification=verified(row),
            where=row.where,
            concept=row["concept"],
            exact=row.one_of("match", ("exact", "contains")) == "exact",
            ordinal_only=row.one_of("ordinal_only", ("yes", "no")) == "yes",
        )


def read_routes(root: Path) -> Iterator[tuple[str, RouteEntry]]:
    for row, system in _words(root / "routes.csv", ROUTE, root, ("sct", "text")):
        effect = cast(RouteEffect, row.one_of("effect", get_args(RouteEffect)))
        yield system, RouteEntry(row["route"], effect, row["code_or_text"], verified(row), row.where)


def read_specimens(root: Path) -> Iterator[tuple[str, SpecimenEntry]]:
    for row, system in _words(root / "codes" / "specimens.csv", SPECIMEN, root, ("sct", "v2-0487", "text")):
        yield system, SpecimenEntry(row["specimen"], row["code_or_text"], verified(row), row.where)


def _words(
    path: Path, columns: tuple[str, ...], root: Path, systems: tuple[str, ...]
) -> Iterator[tuple[Row, str]]:
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(path, columns, root):
        system = row.one_of("system", systems)
        unique(seen, (system, folded(row["code_or_text"])), row)
        check_code(system, row["code_or_text"], row)
        yield row, system


# ---- drugs -----------------------------------------------------------------------------------


def read_drugs(
    root: Path,
) -> Iterator[tuple[DrugEntry, tuple[tuple[str, str, Verification], ...], tuple[str, ...]]]:
    """Each drug with its codes (system, code, level) and the words that look like it but are not it."""
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "drugs.csv", DRUG, root):
        unique(seen, (row["drug"],), row)
        codes = [
            (system, check_code(system, code, row), verified(row, f"{column}_ver"))
            for system, column in (("rxnorm", "rxnorm"), ("sct", "snomed"))
            for code in row.many(column)
        ]
        codes += [("atc", check_code("atc", code, row), verified(row, "atc_ver")) for code in atc_codes(row)]
        yield (
            DrugEntry(
                drug=row["drug"],
                role=row.one_of("role", ROLES),
                classes=row.many("classes"),
                where=row.where,
                form_of=row["form_of"],
                names_en=row.many("name_en"),
                names_zh=row.many("names_zh"),
                long_acting=row.one_of("long_acting", ("yes", "no")) == "yes",
                text_only=not codes,
                note=row["note"],
            ),
            tuple(codes),
            row.many("not_text"),
        )


def atc_codes(row: Row) -> tuple[str, ...]:
    """Codes of the current and of the 2021 index: both still arrive in historic data (E-41)."""
    return (*row.many("atc"), *row.many("atc_old"))


def read_drug_classes(root: Path) -> Iterator[tuple[str, str, str, DrugEntry, Verification]]:
    """ATC groups and SNOMED groupers: system, code, match, entry, level."""
    seen: dict[tuple[str, ...], str] = {}
    for row in read_rows(root / "drug_classes.csv", DRUG_CLASS, root):
        system = row.one_of("system", ("atc", "sct", "rxnorm"))
        unique(seen, (system, row["code"]), row)
        match = row.one_of("match", ("prefix", "exact"))
        if match == "exact":
            check_code(system, row["code"], row)
        entry = DrugEntry(
            row["drug"], row.one_of("role", ROLES), row.many("classes"), row.where, note=row["note"]
        )
        yield system, row["code"], match, entry, verified(row)


def drug_concepts(drugs: Iterable[DrugEntry], concepts: Mapping[str, Concept]) -> dict[str, Concept]:
    """Every drug is a concept; those written in concepts.yaml keep what it says."""
    found: dict[str, Concept] = {}
    for entry in drugs:
        if entry.drug in concepts or entry.drug in found:
            continue
        english = entry.names_en[0] if entry.names_en else entry.drug.replace("_", " ")
        found[entry.drug] = Concept(
            key=entry.drug,
            kind="intervention",
            label_en=english,
            label_zh=entry.names_zh[0] if entry.names_zh else english,
            silence="unknown",
            verified_by="see the code columns of drugs.csv; no pharmacist has checked this entry",
            where=entry.where,
            broader=(entry.form_of,) if entry.form_of else (),
            notes=entry.note,
        )
    return found
