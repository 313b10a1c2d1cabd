"""Dataset specifications: one YAML file, one dataset, checked on load.

A variable is made by exactly one of five closed algorithms, named under ``from``:

========================================  =====================================================
``{constant: LB}``                        the same for every row
``{copy: fact.start}``                    a field of person, fact, study, or ``term.X``
``{map: fact.route, table: routes}``      a field through a table; empty: ``else``, or none
``{derive: study_day, of: LBDTC}``        a named method with its parameters (:mod:`derive`)
``{sequence: [LBDTC, LBTESTCD]}``         1..n within the subject in that order
========================================  =====================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from adapter.exports.codelists import Codelists, Units, load_codelists, load_units
from adapter.exports.dataset import Column, Kind
from adapter.exports.derive import GROUP_METHODS, ROW_METHODS
from adapter.exports.located import Located, read_located
from adapter.exports.record import COPYABLE, MAPPABLE
from adapter.exports.trial_design import DesignKind

LivedKind = Literal[
    "lived elements", "subject visits", "dispositions", "responses", "doses", "adverse events", "procedures",
    "microscopy",
]  # fmt: skip
LinkedKind = Literal["relations", "qualifiers"]
RowKind = (
    Literal["subjects", "findings", "events", "interventions", "exposures", "criteria", "analysis"]
    | LivedKind
    | LinkedKind
    | DesignKind
)
Treatment = Literal["as it is", "original only", "not done"]
Role = Literal[
    "",
    "Identifier",
    "Topic",
    "Timing",
    "Rule",
    "Grouping Qualifier",
    "Record Qualifier",
    "Result Qualifier",
    "Synonym Qualifier",
    "Variable Qualifier",
]
Origin = Literal["Assigned", "Collected", "Derived", "Protocol", "Predecessor"]

_ALGORITHMS = ("constant", "copy", "map", "derive", "sequence")
_OPTIONAL = {"prefer"}
_NO_DATASETS = ("codelists.yaml", "units.yaml", "waivers.yaml")
_TERM_KEYS = {"ucum", "unit", "decimals"}


class Variable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variable as SDTMIG lists it. ``codelist`` names lists of ``codelists.yaml``, ``role`` is SDTM's."""

    name: str
    label: str
    type: Kind
    core: Literal["Req", "Exp", "Perm"]
    origin: Origin
    source: dict[str, Any] = msgspec.field(name="from")
    length: int = 8
    codelist: tuple[str, ...] = ()
    format: str = ""
    role: Role = ""

    @property
    def algorithm(self) -> str:
        return next(name for name in _ALGORITHMS if name in self.source)

    @property
    def parameters(self) -> dict[str, Any]:
        return {key: value for key, value in self.source.items() if key != self.algorithm}


class TermVariant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a concept is called in this dataset, ``when`` all the named fields of the fact fit."""

    set: dict[str, str]
    when: dict[str, str | list[str]] = {}


class DatasetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One dataset.

    ``rows`` is what a row is made from, ``terms`` the concepts it takes, ``excluded`` how readings
    with a reason not to decide are shown (any other reason: not at all), ``distinct`` whether rows
    that say the same are one row. ``supplemental`` are the qualifiers of its records that go to SUPP--;
    a SUPP-- specification names its ``parent`` and is made from ``suppqual.yaml``.
    """

    name: str
    label: str
    domain_class: str = msgspec.field(name="class")
    structure: str
    keys: tuple[str, ...]
    rows: RowKind
    variables: tuple[Variable, ...]
    terms: dict[str, tuple[TermVariant, ...]] = {}
    tables: dict[str, dict[str, str]] = {}
    excluded: dict[str, Treatment] = {}
    distinct: bool = False
    supplemental: tuple[Variable, ...] = ()
    parent: str = ""

    @property
    def columns(self) -> tuple[Column, ...]:
        order = {name: index for index, name in enumerate(self.keys, start=1)}
        return tuple(
            Column(one.name, one.label, one.type, one.length, order.get(one.name, 0), one.format)
            for one in self.variables
        )


class Specs(msgspec.Struct, frozen=True):
    """All specifications of a folder with their terminology; ``digest`` changes when any file does."""

    datasets: tuple[DatasetSpec, ...]
    codelists: Codelists
    units: Units
    digest: str


def load_specs(folder: Path) -> Specs:
    """Read ``codelists.yaml``, ``units.yaml`` and every ``<dataset>.yaml`` of a folder.

    Raises :class:`adapter.errors.MappingError` with file and line for anything unknown or inconsistent.
    """
    codelists = load_codelists(folder / "codelists.yaml")
    units = load_units(folder / "units.yaml", codelists)
    files = sorted(folder.glob("*.yaml"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    datasets = [_load(path, codelists) for path in files if path.name not in _NO_DATASETS]
    return Specs(tuple(_with_qualifiers(datasets)), codelists, units, digest.hexdigest())


def _with_qualifiers(specs: list[DatasetSpec]) -> Iterator[DatasetSpec]:
    """``suppqual.yaml`` once for each dataset that has supplemental qualifiers."""
    for spec in specs:
        if spec.rows != "qualifiers":
            yield spec
            continue
        for parent in specs:
            if parent.supplemental:
                label = f"Supplemental Qualifiers for {parent.name}"
                yield msgspec.structs.replace(
                    spec, name=f"SUPP{parent.name}", label=label, parent=parent.name
                )


def _load(path: Path, codelists: Codelists) -> DatasetSpec:
    content = read_located(path)
    try:
        spec = msgspec.convert(content.value, DatasetSpec)
    except msgspec.ValidationError as fault:
        raise content.error_at(fault) from fault
    _check_dataset(content, spec)
    for index, variable in enumerate(spec.variables):
        _check_variable(content, spec, codelists, ("variables", index), variable)
    for index, variable in enumerate(spec.supplemental):
        _check_variable(content, spec, codelists, ("supplemental", index), variable)
    _check_terms(content, spec, codelists)
    return spec


def _check_dataset(content: Located, spec: DatasetSpec) -> None:
    names = [variable.name for variable in spec.variables]
    if content.path.stem.upper() != spec.name:
        raise content.error(f"{spec.name} stands in a file of another name", "name")
    for index, name in enumerate(names):
        if name in names[:index]:
            raise content.error(f"{name} stands twice", "variables", index)
    for index, name in enumerate(spec.keys):
        if name not in names:
            raise content.error(f"key {name} is no variable of {spec.name}", "keys", index)


def _check_variable(
    content: Located,
    spec: DatasetSpec,
    codelists: Codelists,
    at: tuple[str, int],
    variable: Variable,
) -> None:
    if len(variable.name) > 8 or len(variable.label) > 40 or not variable.label.isascii():
        raise content.error(f"{variable.name}: names have 8, labels 40 ASCII characters", *at)
    if not 1 <= variable.length <= 200:
        raise content.error(f"{variable.name}: a length is 1 to 200 bytes", *at)
    for name in variable.codelist:
        if name not in codelists.codelists:
            raise content.error(f"no codelist {name}", *at, fix="add it to codelists.yaml")
    if len([name for name in _ALGORITHMS if name in variable.source]) != 1:
        fix = f"exactly one of {', '.join(_ALGORITHMS)} under 'from'"
        raise content.error(f"{variable.name} has no algorithm, or two", *at, fix=fix)
    problem = _source_problem(spec, variable)
    if problem:
        raise content.error(f"{variable.name}: {problem}", *at)
    for term, place in _possible_terms(spec, variable):
        if not _is_term(codelists, variable, term):
            raise content.error(
                f"{variable.name}: {term!r} is not in {' or '.join(variable.codelist)}",
                *(place or at),
                fix="use the submission value; add it with its NCI code to codelists.yaml",
            )


def _source_problem(spec: DatasetSpec, variable: Variable) -> str:
    source, parameters = variable.source, set(variable.parameters)
    match variable.algorithm:
        case "constant":
            return _unknown(parameters, set())
        case "copy":
            return _unknown(parameters, set()) or _path_problem(spec, str(source["copy"]), COPYABLE)
        case "map":
            missing = "" if source.get("table") in spec.tables else f"no table {source.get('table')!r}"
            path = _path_problem(spec, str(source["map"]), MAPPABLE)
            if "else" in source:
                path = path or _path_problem(spec, str(source["else"]), COPYABLE)
            return missing or _unknown(parameters, {"table", "else"}) or path
        case "sequence":
            names = {one.name for one in spec.variables}
            by = source["sequence"]
            return "" if isinstance(by, list) and set(by) <= names else "sequence: a list of variables"
        case _:
            return _method_problem(spec, str(source["derive"]), parameters, variable)


def _method_problem(spec: DatasetSpec, method: str, parameters: set[str], variable: Variable) -> str:
    known = ROW_METHODS.get(method) or GROUP_METHODS.get(method)
    if known is None:
        return f"no method {method!r}; known: {', '.join(sorted({*ROW_METHODS, *GROUP_METHODS}))}"
    if missing := known[1] - parameters - _OPTIONAL:
        return f"{method} needs {', '.join(sorted(missing))}"
    names = {one.name for one in spec.variables}
    for name in ("of", "at", "result"):
        if name in parameters and variable.source[name] not in names:
            return f"{name}: {variable.source[name]!r} is no variable of {spec.name}"
    if "point" in parameters and (problem := _path_problem(spec, str(variable.source["point"]), COPYABLE)):
        return problem
    return _unknown(parameters, set(known[1]))


def _path_problem(spec: DatasetSpec, path: str, allowed: dict[str, frozenset[str]]) -> str:
    if path.startswith("term.") and spec.terms:
        return ""
    return "" if path in allowed.get(spec.rows, ()) else f"{path!r} is not on the list of what may leave"


def _unknown(given: set[str], allowed: set[str]) -> str:
    extra = given - allowed
    return f"unknown: {', '.join(sorted(extra))}" if extra else ""


def _possible_terms(spec: DatasetSpec, variable: Variable) -> list[tuple[str, tuple[str, ...]]]:
    """The terms a specification itself puts into a variable, and where they stand if not at the variable."""
    if not variable.codelist:
        return []
    match variable.algorithm:
        case "constant":
            return [(str(constant), ())] if (constant := variable.source["constant"]) else []
        case "map":
            table = variable.source["table"]
            return [(term, ("tables", table, word)) for word, term in spec.tables[table].items()]
        case _:
            return []


def _check_terms(content: Located, spec: DatasetSpec, codelists: Codelists) -> None:
    variables = {variable.name: variable for variable in spec.variables}
    for concept, variants in spec.terms.items():
        for index, variant in enumerate(variants):
            at = ("terms", concept, index)
            for name, value in variant.set.items():
                if name not in _TERM_KEYS and name not in variables:
                    raise content.error(f"{name} is no variable of {spec.name}", *at)
                if name in variables and not _is_term(codelists, variables[name], value):
                    raise content.error(f"{name}: {value!r} is not in its codelist", *at)
            for field in variant.when:
                if f"fact.{field}" not in MAPPABLE[spec.rows] and field not in ("category", "excluded"):
                    raise content.error(f"'when' cannot ask for {field!r}", *at)
            _check_pair(content, codelists, variables, variant, at)


def _check_pair(
    content: Located,
    codelists: Codelists,
    variables: dict[str, Variable],
    variant: TermVariant,
    at: tuple[str | int, ...],
) -> None:
    """A test code and its name are one NCI concept: the same C-code in both lists."""
    for name, value in variant.set.items():
        if not name.endswith("TESTCD") or not variables[name].codelist:
            continue
        test = name.removesuffix("CD")
        codes = [
            codelists.codelists[variables[one].codelist[0]].terms.get(text)
            for one, text in ((name, value), (test, variant.set.get(test, "")))
        ]
        if codes[0] != codes[1]:
            raise content.error(f"{value} is not the code of {variant.set.get(test)!r}", *at)


def _is_term(codelists: Codelists, variable: Variable, value: str) -> bool:
    lists = [codelists.codelists[name] for name in variable.codelist]
    return not lists or any(value in one.terms for one in lists)
