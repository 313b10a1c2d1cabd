"""The shape of each resource type of a population, for those who parse everything into typed structs.

Taken from the charts that the population copies, so that DuckDB, Spark and msgspec are all told the same:
every element there is, as text, number, truth value, list or struct, to any depth.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from benchmarks.charts import Chart, charts
from benchmarks.data import person

Shape = str | list[Any] | dict[str, Any]
"""``"text"``, ``"number"`` or ``"truth"``; ``[shape]``; ``{element: shape}``."""
_DUCKDB = {"text": "VARCHAR", "number": "DOUBLE", "truth": "BOOLEAN"}
_SPARK = {"text": "string", "number": "double", "truth": "boolean"}
_MSGSPEC: dict[str, Any] = {"text": str, "number": Decimal, "truth": bool}


@cache
def shapes() -> Mapping[str, dict[str, Any]]:
    """By resource type, of every chart together."""
    found: dict[str, Any] = {}
    cases, others = charts()
    for chart in (*cases, *others):
        for kind, line in _lines(chart):
            found[kind] = _joined(found.get(kind), _shape(msgspec.json.decode(line)))
    return dict(sorted(found.items()))


def _lines(chart: Chart) -> Iterable[tuple[str, bytes]]:
    return ((kind, line) for kind, text in chart.of(person(0)) for line in text.splitlines())


def _shape(value: Any) -> Shape | None:
    if isinstance(value, dict):
        return {name: _shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        inner: Shape | None = None
        for item in value:
            inner = _joined(inner, _shape(item))
        return [inner]
    if value is None:
        return None
    return "text" if isinstance(value, str) else "truth" if isinstance(value, bool) else "number"


def _joined(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _joined(one.get(name), other.get(name)) for name in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [_joined(one[0], other[0])]
    if one != other:
        raise ValueError(f"an element is {one} here and {other} there: copy charts without it")
    return one


def duckdb_type(shape: Shape) -> str:
    if isinstance(shape, str):
        return _DUCKDB[shape]
    if isinstance(shape, list):
        return f"{duckdb_type(shape[0])}[]"
    return "STRUCT(" + ", ".join(f'"{name}" {duckdb_type(inner)}' for name, inner in shape.items()) + ")"


def spark_type(shape: Shape) -> str:
    if isinstance(shape, str):
        return _SPARK[shape]
    if isinstance(shape, list):
        return f"array<{spark_type(shape[0])}>"
    return "struct<" + ",".join(f"`{name}`:{spark_type(inner)}" for name, inner in shape.items()) + ">"


def msgspec_type(shape: Shape, name: str) -> Any:
    """A frozen Struct whose elements are all optional; numbers are Decimal, as the mappers need them."""
    if isinstance(shape, str):
        return _MSGSPEC[shape]
    if isinstance(shape, list):
        item: Any = msgspec_type(shape[0], name) | None
        return tuple.__class_getitem__((item, ...))
    fields = []
    for element, inner in shape.items():
        own: Any = msgspec_type(inner, name + element)
        label = f"{element}_" if keyword.iskeyword(element) else element
        fields.append((label, own, ()) if isinstance(inner, list) else (label, own | None, None))
    return msgspec.defstruct(name, fields, frozen=True, rename=_in_fhir, kw_only=True)


def _in_fhir(label: str) -> str:
    return label.removesuffix("_")
