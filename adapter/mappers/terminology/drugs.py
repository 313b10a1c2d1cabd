"""Recognising a medication: by RxNorm, ATC (old and new), SNOMED CT, the site's own code, or its name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, cast

from adapter.errors import MappingError
from adapter.mappers.terminology.phrases import Found, Phrases
from adapter.mappers.terminology.tables import decided
from adapter.model.terminology import UNVERIFIED, DrugEntry, DrugMatch, Verification

Codes = Mapping[tuple[str, str], tuple[tuple[DrugEntry, Verification], ...]]
_MatchedBy = Literal["rxnorm", "atc", "sct", "text", "site"]


class DrugRow(NamedTuple):
    entry: DrugEntry
    codes: tuple[tuple[str, str, Verification], ...]
    not_text: tuple[str, ...]


class DrugTable:
    """All drugs of ``drugs.csv`` and, behind them, the groups of ``drug_classes.csv``."""

    def __init__(
        self,
        rows: Iterable[DrugRow],
        groups: Iterable[tuple[str, str, str, DrugEntry, Verification]],
        herbal: Phrases[str],
    ) -> None:
        self.entries: dict[str, DrugEntry] = {}
        codes: dict[tuple[str, str], list[tuple[DrugEntry, Verification]]] = {}
        names: dict[str, DrugEntry | None] = {}
        for row in rows:
            self.entries[row.entry.drug] = row.entry
            for system, code, level in row.codes:
                codes.setdefault((system, code), []).append((row.entry, level))
            for decoy in row.not_text:
                names[decoy] = None
            for name in (*row.entry.names_en, *row.entry.names_zh):
                owner = names.get(name)
                if owner is not None:
                    raise MappingError(
                        f"{name!r} names both {owner.drug} and {row.entry.drug}",
                        where=row.entry.where,
                        fix=f"keep it in one row (the other is {owner.where})",
                    )
                names[name] = row.entry
        self._prefixes: list[tuple[str, str, DrugEntry, Verification]] = []
        for system, code, match, entry, level in groups:
            known = self.entries.get(entry.drug)
            if match == "exact":
                codes.setdefault((system, code), []).append((known or entry, level))
            else:
                self._prefixes.append((system, code, entry, level))
            self.entries.setdefault(entry.drug, entry)
        self._codes = {key: _base_of(key, found) for key, found in codes.items()}
        self._names: Phrases[DrugEntry] = Phrases(names)
        self._herbal = herbal
        for entry in self.entries.values():
            if entry.form_of and entry.form_of not in self.entries:
                raise MappingError(
                    f"form of unknown {entry.form_of}", where=entry.where, fix="name a drug of this file"
                )

    def patterns(self) -> Iterator[tuple[str, str, str]]:
        """System, code and drug of everything that may name a drug; names have the system ``text``."""
        for (system, code), (entry, _) in self._codes.items():
            yield system, code, entry.drug
        for system, prefix, entry, _ in self._prefixes:
            yield system, prefix, entry.drug
        for entry in self.entries.values():
            for name in (*entry.names_en, *entry.names_zh):
                yield "text", name, entry.drug

    def by_code(self, system: str, code: str) -> DrugMatch | None:
        """One coding; a code that a drug shares with its forms (an ingredient) means the drug."""
        found = self._codes.get((system, code))
        if found is None:
            found = next(
                (
                    (entry, level)
                    for group, prefix, entry, level in self._prefixes
                    if group == system and code.startswith(prefix)
                ),
                None,
            )
        if found is None:
            return None
        entry, level = found
        use, flags = decided("AUTO", level, ())
        return DrugMatch(entry, cast(_MatchedBy, system), code, level, use, entry.where, flags)

    def by_text(self, text: str) -> DrugMatch | None:
        """The first drug a text names; the others are in ``also``. Topical forms are rows of their own."""
        found, _ = self._names.within(text)
        if not found:
            return None
        first: Found[DrugEntry] = found[0]
        entry = first.value
        also = sorted({item.value.substance for item in found} - {entry.substance})
        herbal = entry.text_only and bool(self._herbal.within(text)[0])
        return DrugMatch(
            entry,
            "text",
            first.phrase,
            "V2",
            "SUPP" if herbal else "AUTO",
            entry.where,
            ("HERBAL_FORMULA",) if herbal else (),
            also=tuple(also),
        )


def _base_of(
    key: tuple[str, str], found: list[tuple[DrugEntry, Verification]]
) -> tuple[DrugEntry, Verification]:
    """Of the rows that share a code, the drug itself; two different drugs with one code are an error."""
    substances = {entry.substance for entry, _ in found}
    bases = [item for item in found if not item[0].form_of]
    if len(found) == 1:
        return found[0]
    if len(substances) > 1 or len(bases) != 1:
        entry = found[-1][0]
        raise MappingError(
            f"{key[0]} {key[1]} names {', '.join(sorted(item.drug for item, _ in found))}",
            where=entry.where,
            fix="let one of them be the drug and the others its forms (form_of)",
        )
    return bases[0]


def choose(matches: list[DrugMatch]) -> DrugMatch | None:
    """One reading of several codings: verified before unverified, a form before its drug.

    Codings that name different substances are kept as ``conflict``: a person decides (E-17).
    """
    if not matches:
        return None
    trusted = [match for match in matches if match.verification not in UNVERIFIED] or matches
    ranked = sorted(
        enumerate(trusted),
        key=lambda item: (item[1].matched_by != "site", not item[1].entry.form_of, item[0]),
    )
    best = ranked[0][1]
    others = sorted({match.entry.substance for match in trusted} - {best.entry.substance})
    if not others or best.matched_by == "site":
        return best
    return DrugMatch(
        best.entry, best.matched_by, best.matched, best.verification, "SUPP", best.where,
        (*best.flags, "CONFLICT"), tuple(others), best.also,
    )  # fmt: skip
