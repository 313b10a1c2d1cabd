"""The codelists that datasets use, cut down to the terms in use, with their NCI codes and decodes.

Source: Define-XML 2.1, CodeList: only values that may occur in the data; ``nci:ExtCodeID`` on the list and on
each term; ``def:ExtendedValue`` on terms added to an extensible list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from adapter.exports.codelists import Codelist, Codelists
from adapter.exports.dataset import Dataset
from adapter.exports.described import Described
from adapter.exports.exact import exact_text

_NUMERIC = re.compile(r"[<>]?=?-?\d[\d.:-]*")
_PAIRS = (("PARAMCD", "PARAM"), ("ARMCD", "ARM"), ("ACTARMCD", "ACTARM"), ("ETCD", "ELEMENT"))


class Term(msgspec.Struct, frozen=True, order=True):
    """One value: its NCI code, "" for a value of the sponsor's own; ``decode`` its long name."""

    value: str
    code: str = ""
    decode: str = ""
    extended: bool = False


class UsedList(msgspec.Struct, frozen=True):
    """One codelist as Define-XML shows it; without ``code`` it is no list of CDISC's."""

    oid: str
    name: str
    code: str
    terms: tuple[Term, ...]


class UsedLists(msgspec.Struct, frozen=True):
    """All lists in use, and which variable of which dataset refers to which."""

    lists: tuple[UsedList, ...]
    references: dict[tuple[str, str], str]


def used_lists(datasets: Iterable[Described], known: Codelists) -> UsedLists:
    """Lists for the variables of ``datasets``; a variable that also holds numbers refers to none."""
    values: dict[str, set[str]] = {}
    sources: dict[str, tuple[str, ...]] = {}
    references: dict[tuple[str, str], str] = {}
    own: dict[str, UsedList] = {}
    for one in datasets:
        for name, item in one.items.items():
            words = set(column_text(one.dataset, name)) - {""}
            if item.codelists and not any(_NUMERIC.fullmatch(word) for word in words):
                lists = _narrowed(item.codelists, words, known)
                oid = f"CL.{'.'.join(lists)}"
                references[one.dataset.name, name] = oid
                values.setdefault(oid, set()).update(words)
                sources[oid] = lists
            elif not item.codelists and (found := _paired(one.dataset, name)):
                references[one.dataset.name, name] = found.oid
                own[found.oid] = found
    listed = [_used(oid, sources[oid], values[oid], known) for oid in sources]
    return UsedLists(tuple(sorted([*listed, *own.values()], key=lambda one: one.oid)), references)


def column_text(dataset: Dataset, name: str) -> Iterator[str]:
    """The cells of one variable as text, in row order."""
    place = next(index for index, column in enumerate(dataset.columns) if column.name == name)
    return (exact_text(row[place]) for row in dataset.rows)


def _narrowed(names: tuple[str, ...], words: set[str], known: Codelists) -> tuple[str, ...]:
    """One list if it holds all the words: a variable refers to one list only."""
    return next(((name,) for name in names if words <= known.codelists[name].terms.keys()), names)


def _used(oid: str, names: tuple[str, ...], words: set[str], known: Codelists) -> UsedList:
    lists = [known.codelists[name] for name in names]
    codes = {term: code for one in reversed(lists) for term, code in one.terms.items()}
    decodes = _decodes(names[0], known)
    terms = tuple(
        Term(word, codes.get(word, ""), decodes.get(codes.get(word, ""), ""), word not in codes)
        for word in sorted(words or codes)
    )
    return UsedList(
        oid, " or ".join(one.name for one in lists), lists[0].code if len(lists) == 1 else "", terms
    )


def _decodes(name: str, known: Codelists) -> dict[str, str]:
    """NCI code -> long name, for a list of short names that has one of long names beside it."""
    named: Codelist | None = known.codelists.get(name.removesuffix("CD")) if name.endswith("CD") else None
    return {code: term for term, code in named.terms.items()} if named else {}


def _paired(dataset: Dataset, name: str) -> UsedList | None:
    """A list of codes and names that stand side by side in the data itself."""
    pairs = (*_PAIRS, (f"{dataset.name}TESTCD", f"{dataset.name}TEST"), ("VISITNUM", "VISIT"))
    long = next((long for short, long in pairs if short == name), "")
    if not any(column.name == long for column in dataset.columns):
        return None
    told = {
        code: text
        for code, text in zip(column_text(dataset, name), column_text(dataset, long), strict=True)
        if code and text
    }
    if not told:
        return None
    label = next(column.label for column in dataset.columns if column.name == name)
    terms = tuple(Term(code, decode=text) for code, text in sorted(told.items()))
    return UsedList(f"CL.{dataset.name}.{name}", label, "", terms)
