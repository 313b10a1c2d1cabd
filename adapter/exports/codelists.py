"""The part of CDISC Controlled Terminology that the specifications use, and how hospitals spell units.

Source: CDISC Controlled Terminology, published by the NCI Enterprise Vocabulary Services (NCI EVS).
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import msgspec

from adapter.exports.located import read_located

_FOLDS = str.maketrans(
    {"≥": ">=", "≤": "<=", "⩾": ">=", "⩽": "<=", "μ": "u", "×": "x", "−": "-", "–": "-", "·": "."}
)
_ATOM = r"(?:[munpk]?(?:g|mol|L|m|U|IU|katal|kat|Pa|cell|osmol)|dL|cm|mm|%|10|h|min|s|sec|d|day|wk|mo)"
_UNIT = re.compile(rf"{_ATOM}[0-9]?(?:[./*^]+\(?(?:{_ATOM}|\d{{1,2}}(?:\.\d{{1,2}})?)[0-9]?\)?){{0,4}}")


class Codelist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One codelist: its NCI code and, of its terms, those in use (submission value -> NCI code)."""

    code: str
    name: str
    extensible: bool
    terms: dict[str, str]


class Codelists(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``codelists.yaml``: the package date and the lists by submission value."""

    package: str
    codelists: dict[str, Codelist]


class Units(msgspec.Struct, frozen=True):
    """``units.yaml``: for each unit codelist, the CT term of each known spelling."""

    terms: dict[str, dict[str, str]]

    def term(self, codelist: str, spelling: str) -> str:
        """The submission value; "" when the spelling is unknown."""
        return self.terms.get(codelist, {}).get(normalised(spelling), "")

    def shown(self, codelist: str, spelling: str) -> str:
        """The submission value, else the spelling itself if it is made of nothing but unit symbols.

        UNIT is extensible. Text that is no unit ("see note", a name) is never passed on.
        """
        known = self.term(codelist, spelling)
        if known:
            return known
        plain = normalised(spelling)
        return plain if len(plain) <= 20 and _UNIT.fullmatch(plain) else ""


def load_codelists(path: Path) -> Codelists:
    """Read ``codelists.yaml``; raises :class:`adapter.errors.MappingError` with file and line."""
    content = read_located(path)
    lists: dict[str, Codelist] = {}
    for name, value in content.value.get("codelists", {}).items():
        try:
            lists[name] = msgspec.convert(value, Codelist)
        except msgspec.ValidationError as fault:
            raise content.error_at(fault, "codelists", name) from fault
    try:
        return msgspec.convert({**content.value, "codelists": lists}, Codelists)
    except msgspec.ValidationError as fault:
        raise content.error_at(fault) from fault


def load_units(path: Path, codelists: Codelists) -> Units:
    """Read ``units.yaml``; every term must stand in its codelist and no spelling may mean two."""
    content = read_located(path)
    try:
        lists = msgspec.convert(content.value, dict[str, dict[str, list[str]]])
    except msgspec.ValidationError as fault:
        raise content.error_at(fault) from fault
    found: dict[str, dict[str, str]] = {}
    for codelist, terms in lists.items():
        if codelist not in codelists.codelists:
            raise content.error(f"no codelist {codelist}", codelist, fix="add it to codelists.yaml")
        spellings = found.setdefault(codelist, {})
        for term, written in terms.items():
            if term not in codelists.codelists[codelist].terms:
                raise content.error(
                    f"{term!r} is not in {codelist}", codelist, term, fix="see codelists.yaml"
                )
            for spelling in (term, *written):
                if spellings.setdefault(normalised(spelling), term) != term:
                    raise content.error(f"{spelling!r} would mean two units", codelist, term)
    return Units(found)


def folded(text: str) -> str:
    """Compatibility forms and the few signs laboratories use, as ASCII; the rest stays as it is."""
    return unicodedata.normalize("NFKC", text).translate(_FOLDS).strip()


def normalised(spelling: str) -> str:
    return re.sub(r"\s+", "", folded(spelling))
