"""Value-level metadata: what a result variable is for each test, as the data show it.

Source: Define-XML 2.1, def:ValueListDef and def:WhereClauseDef.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from adapter.exports.columns import Remembered, columns_of
from adapter.exports.dataset import Column, Dataset
from adapter.exports.exact import exact_text

_PLAIN = re.compile(r"-?\d+(?:\.(\d+))?")
_RESULTS = ("ORRES", "ORRESU", "STRESC", "STRESN", "STRESU")
_QUALIFIERS = ("SPEC", "BDAGNT")
_Measure = tuple[int, int]  # characters, decimals
_NOTHING: _Measure = (0, 0)


class Shape(msgspec.Struct, frozen=True):
    """Type, length in characters and decimals of the values of a variable, as Define-XML wants them."""

    type: str
    length: int | None = None
    decimals: int | None = None


class ValueLevel(msgspec.Struct, frozen=True):
    """One variable under one condition: ``where`` are (variable, value) that all have to hold."""

    variable: str
    where: tuple[tuple[str, str], ...]
    shape: Shape
    label: str
    words: tuple[str, ...]

    @property
    def condition(self) -> str:
        return ".".join(part for pair in self.where for part in pair)


def shape_of(column: Column, texts: Iterable[str]) -> Shape:
    """The shape of a variable from its values; of an empty one as it was declared."""
    return _shape(column, {_measure(text) for text in texts} - {_NOTHING})


def shapes_of(dataset: Dataset) -> tuple[Shape, ...]:
    """The shape of each variable, in one pass over the rows."""
    measured: list[set[_Measure]] = [set() for _ in dataset.columns]
    measures = [Remembered(lambda cell: _measure(exact_text(cell))) for _ in dataset.columns]
    needed = [place for place, column in enumerate(dataset.columns) if column.kind != "text"]
    for cells in columns_of(dataset.rows):
        for place in needed:
            measured[place].update(measures[place].of(cells[place]))
    pairs = zip(dataset.columns, measured, strict=True)
    return tuple(_shape(column, found - {_NOTHING}) for column, found in pairs)


def _measure(text: str) -> _Measure:
    return len(text), _decimals(text)


def _shape(column: Column, measures: set[_Measure]) -> Shape:
    if column.kind in ("date", "datetime"):
        return Shape(_date_type(column, {length for length, _ in measures}))
    if not column.is_numeric:
        return Shape("text", column.length)
    length = max((length for length, _ in measures), default=column.length)
    if column.kind == "integer":
        return Shape("integer", length)
    return Shape("float", length, max((decimals for _, decimals in measures), default=0))


def value_levels(dataset: Dataset) -> tuple[ValueLevel, ...]:
    """The levels of a dataset whose variables mean something else in each test, parameter or qualifier."""
    order = [column.name for column in dataset.columns]
    key, variables, qualifiers = _plan(dataset.name, order)
    if key not in order:
        return ()
    wanted = {key, *variables, *qualifiers, _long_name(key), _unit_of(key)}
    names = [name for name in order if name in wanted]
    columns = {column.name: column for column in dataset.columns}
    found: list[ValueLevel] = []
    for where, rows in _groups(dataset, names, key, [one for one in qualifiers if one in names]):
        for variable in variables:
            if variable in names:
                level = _level(columns[variable], names, where, rows)
                found += [level] if level else []
    return tuple(sorted(found, key=lambda one: (order.index(one.variable), one.where)))


def _plan(dataset: str, names: list[str]) -> tuple[str, list[str], list[str]]:
    if "QNAM" in names:
        return "QNAM", ["QVAL"], []
    if "PARAMCD" in names:
        return "PARAMCD", ["AVAL", "AVALC"], []
    if dataset == "TS":
        return "TSPARMCD", ["TSVAL"], []
    return (
        f"{dataset}TESTCD",
        [f"{dataset}{one}" for one in _RESULTS],
        [f"{dataset}{one}" for one in _QUALIFIERS],
    )


def _groups(
    dataset: Dataset, names: list[str], key: str, qualifiers: list[str]
) -> Iterator[tuple[tuple[tuple[str, str], ...], list[tuple[str, ...]]]]:
    """Rows by test and, where every row of the test has them, by specimen and binding agent.

    Only the variables ``names``, and of equal rows one: there are as many as different results.
    """
    places = [names.index(one) for one in (key, *qualifiers)]
    chosen = [place for place, column in enumerate(dataset.columns) if column.name in names]
    texts = [Remembered(exact_text) for _ in names]
    tests: dict[str, dict[tuple[str, ...], None]] = {}
    for columns in columns_of(dataset.rows):
        told_here = [one.of(columns[place]) for one, place in zip(texts, chosen, strict=True)]
        for cells in zip(*told_here, strict=True):
            tests.setdefault(cells[places[0]], {})[cells] = None
    for test in sorted(tests):
        told = [place for place in places[1:] if all(row[place] for row in tests[test])]
        groups: dict[tuple[tuple[str, str], ...], list[tuple[str, ...]]] = {}
        for row in tests[test]:
            where = ((key, test), *((names[place], row[place]) for place in told))
            groups.setdefault(where, []).append(row)
        yield from sorted(groups.items())


def _level(
    column: Column, names: list[str], where: tuple[tuple[str, str], ...], rows: list[tuple[str, ...]]
) -> ValueLevel | None:
    place = names.index(column.name)
    texts = [row[place] for row in rows if row[place]]
    if not texts:
        return None
    words = tuple(sorted(set(texts)))
    return ValueLevel(column.name, where, _value_shape(column, texts), _label(names, where, rows), words)


def _value_shape(column: Column, texts: list[str]) -> Shape:
    """A character variable may hold nothing but numbers in one test: there it is a number."""
    if column.is_numeric or column.kind != "text":
        return shape_of(column, texts)
    if not all(_PLAIN.fullmatch(text) for text in texts):
        return Shape("text", max(map(len, texts)))
    decimals = max(_decimals(text) for text in texts)
    length = max(map(len, texts))
    return Shape("float", length, decimals) if decimals else Shape("integer", length)


def _label(names: list[str], where: tuple[tuple[str, str], ...], rows: list[tuple[str, ...]]) -> str:
    """What the test is called, in which unit if it is always the same."""
    key = where[0][0]
    long, unit = _long_name(key), _unit_of(key)
    text = rows[0][names.index(long)] if long in names else where[0][1]
    units = {row[names.index(unit)] for row in rows} - {""} if unit in names else set()
    return f"{text} ({units.pop()})" if len(units) == 1 else text


def _long_name(key: str) -> str:
    return {"QNAM": "QLABEL", "TSPARMCD": "TSPARM"}.get(key, key.removesuffix("CD"))


def _unit_of(key: str) -> str:
    return f"{key.removesuffix('TESTCD')}STRESU"


def _decimals(text: str) -> int:
    match = _PLAIN.fullmatch(text)
    return len(match[1]) if match and match[1] else 0


def _date_type(column: Column, lengths: set[int]) -> str:
    """``date`` or ``datetime`` if every value is a whole one, else the partial type that holds them all."""
    if not lengths:
        return column.kind
    if lengths == {10}:
        return "date"
    if min(lengths) >= 19:
        return "datetime"
    return "partialDate" if max(lengths) <= 10 else "partialDatetime"
