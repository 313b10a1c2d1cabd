"""A dataset with everything that Define-XML says about it, whichever standard it follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path

import msgspec

from adapter.exports.codelists import Codelists
from adapter.exports.dataset import Dataset
from adapter.exports.methods import Function, Method, mapping_text, method_of
from adapter.exports.spec import DatasetSpec, Specs, Variable


class Item(msgspec.Struct, frozen=True):
    """What a variable is beyond its column. ``origin`` and ``by`` are Type and Source of def:Origin."""

    origin: str
    by: str = ""
    predecessor: str = ""
    mandatory: bool = False
    codelists: tuple[str, ...] = ()
    method: Method | None = None
    comment: str = ""
    role: str = ""


class Described(msgspec.Struct, frozen=True):
    """One dataset: rows, structure and class as its standard names them, and its variables by name."""

    dataset: Dataset
    structure: str
    domain_class: str
    items: Mapping[str, Item]
    comment: str = ""

    @property
    def is_reference(self) -> bool:
        """Whether it speaks of the study rather than of its subjects."""
        return all(column.name != "USUBJID" for column in self.dataset.columns)

    @property
    def repeats(self) -> bool:
        return not self.is_reference and self.structure != "One record per subject"


class Standard(msgspec.Struct, frozen=True):
    """The implementation guide, and the terminology with its publishing set, that the datasets follow."""

    guide: str
    version: str
    publishing_set: str
    terminology: Codelists


def described(
    specs: Specs,
    datasets: Sequence[Dataset],
    folder: Path,
    functions: Mapping[str, Function] | None = None,
) -> tuple[Described, ...]:
    """Every dataset that has a specification, in the order given.

    ``folder`` is that of the specifications: the lines above the first word of a file are the dataset's
    comment. ``functions`` are further methods by name.
    """
    by_name = {spec.name: spec for spec in specs.datasets}
    return tuple(
        _described(
            by_name[dataset.name], dataset, head_comment(folder / f"{dataset.name.lower()}.yaml"), functions
        )
        for dataset in datasets
        if dataset.name in by_name
    )


def head_comment(path: Path) -> str:
    """The comment a file begins with, as one paragraph; "" if there is no such file."""
    if not path.exists():
        return ""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines)


def _described(
    spec: DatasetSpec, dataset: Dataset, comment: str, functions: Mapping[str, Function] | None
) -> Described:
    items = {one.name: _item(spec, one, functions) for one in spec.variables}
    domain_class = spec.domain_class.upper().replace("-", " ")
    return Described(dataset, spec.structure, domain_class, items, comment)


def _item(spec: DatasetSpec, variable: Variable, functions: Mapping[str, Function] | None) -> Item:
    method = method_of(spec, variable, functions)
    derived = variable.origin == "Derived"
    return Item(
        origin=variable.origin,
        by={"Collected": "Investigator", "Predecessor": ""}.get(variable.origin, "Sponsor"),
        predecessor=method.text if variable.origin == "Predecessor" else "",
        mandatory=variable.core == "Req",
        role=variable.role,
        codelists=variable.codelist,
        method=method if derived else None,
        comment=_comment(spec, variable, method),
    )


def _comment(spec: DatasetSpec, variable: Variable, method: Method) -> str:
    """What was done to a value that is not called derived, where that is worth saying."""
    if variable.origin in ("Derived", "Predecessor"):
        return ""
    if variable.algorithm == "map":
        return mapping_text(spec, variable)
    return method.text if variable.algorithm == "derive" else ""
