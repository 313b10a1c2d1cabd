"""Records become rows: each variable by the one algorithm its specification names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from adapter.exports.dataset import Cell, Row
from adapter.exports.derive import GROUP_METHODS, ROW_METHODS, GroupMethod, RowMethod
from adapter.exports.participation import Qualifier
from adapter.exports.record import Record, read
from adapter.exports.sequence import Given, key_of, number_rows
from adapter.exports.spec import DatasetSpec, Variable


class Recipe(NamedTuple):
    """A specification prepared once for many rows, in the order in which variables can be made.

    ``plain`` needs the fact alone, ``derived`` the plain values of the row, ``grouped`` all rows of a
    subject; sequence numbers come first among the last, because a flag may need them.
    """

    names: tuple[str, ...]
    plain: tuple[tuple[str, Callable[[Record], Cell]], ...]
    derived: tuple[tuple[str, RowMethod, dict[str, Any]], ...]
    numbered: tuple[tuple[str, tuple[str, ...]], ...]
    grouped: tuple[tuple[str, GroupMethod, dict[str, Any]], ...]
    distinct: bool


def recipe(spec: DatasetSpec) -> Recipe:
    by_row, by_group, numbered, plain = [], [], [], []
    for one in spec.variables:
        if one.algorithm == "sequence":
            numbered.append((one.name, tuple(one.source["sequence"])))
        elif one.algorithm != "derive":
            plain.append((one.name, _plain(spec, one)))
        elif one.source["derive"] in ROW_METHODS:
            by_row.append((one.name, ROW_METHODS[one.source["derive"]][0], one.parameters))
        else:
            by_group.append((one.name, GROUP_METHODS[one.source["derive"]][0], one.parameters))
    names = tuple(one.name for one in spec.variables)
    return Recipe(names, tuple(plain), tuple(by_row), tuple(numbered), tuple(by_group), spec.distinct)


def supplements(spec: DatasetSpec, record: Record) -> Iterator[Qualifier]:
    """The qualifiers of a numbered record for SUPP--; what is empty is no row."""
    number = f"{spec.name}SEQ"
    for one in spec.supplemental:
        if one.algorithm == "derive":
            value = ROW_METHODS[one.source["derive"]][0](record, one.parameters)
        else:
            value = _plain(spec, one)(record)
        if value not in (None, ""):
            sequence, evaluator = str(record.values[number]), ""
            yield Qualifier(
                spec.name, number, sequence, one.name, one.label, str(value), one.origin, evaluator
            )


def fill(made: Recipe, record: Record) -> Record:
    """Make the variables that depend on this record alone, into ``record.values``."""
    for name, value_of in made.plain:
        record.values[name] = value_of(record)
    for name, method, parameters in made.derived:
        record.values[name] = method(record, parameters)
    return record


def finish(made: Recipe, records: Sequence[Record], given: Given | None = None) -> list[Row]:
    """The rows of one subject: equal ones once if the dataset says so, numbered and flagged.

    ``given`` holds the subject's numbers in this dataset so far, and afterwards the new ones too.
    """
    given = {} if given is None else given
    kept = _distinct(records, given) if made.distinct else records
    for name, by in made.numbered:
        number_rows(kept, by, name, given)
    for name, method, parameters in made.grouped:
        method(kept, parameters, name)
    return [tuple(record.values.get(name) for name in made.names) for record in kept]


def _plain(spec: DatasetSpec, variable: Variable) -> Callable[[Record], Cell]:
    source = variable.source
    if variable.algorithm == "constant":
        constant: Cell = source["constant"]
        return lambda record: constant
    if variable.algorithm == "copy":
        path: str = source["copy"]
        if path.startswith("term.") and variable.type == "integer":
            return lambda record: None if (text := read(record, path)) is None else int(text)
        return lambda record: read(record, path)
    table, field, instead = spec.tables[source["table"]], str(source["map"]), source.get("else")

    def mapped(record: Record) -> Cell:
        value = read(record, field)
        if value is None:
            return read(record, instead) if instead else None
        return table.get(str(value))

    return mapped


def _distinct(records: Sequence[Record], given: Given) -> list[Record]:
    """One of each; of equals the one that has a number already, so that another copy does not change it."""
    seen: dict[tuple[tuple[str, Cell], ...], Record] = {}
    for record in sorted(records, key=lambda one: (given.get(key_of(one), sys.maxsize), one.order)):
        seen.setdefault(tuple(record.values.items()), record)
    return list(seen.values())
