"""Specifications of analysis datasets: ``mappings/adam/*.yaml``, one file, one dataset, checked on load.

The variables are those of :class:`adapter.exports.spec.Variable`; each is made by one of three algorithms:

==========================  ==================================================================
``{constant: DAYS}``        the same for every row
``{copy: DM.AGE}``          a predecessor: a variable of the subject's DM or ADSL row
``{derive: change}``        a named method of :mod:`adapter.exports.adam.methods` or :mod:`~.adsl`
==========================  ==================================================================
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from adapter.exports.codelists import Codelists, Units, load_codelists
from adapter.exports.located import Located, read_located
from adapter.exports.spec import DatasetSpec, Specs

_OWN = ("parameters", "criteria", "responses", "age_groups", "per_protocol", "decimals")
_NO_DATASETS = ("codelists.yaml", "waivers.yaml")
_ALGORITHMS = {"constant", "copy", "derive"}


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One PARAMCD.

    Of readings: ``dataset`` and ``where`` choose SDTM rows, ``value``/``text`` name the result's variables,
    ``baseline`` a reading of the protocol that says where the baseline is looked for, ``maximum_of`` another
    parameter. Of responses: ``response`` by visit or an ``endpoint`` of the protocol. Of times: the ``event``
    of ``Monitoring.days_to``, counted from randomisation or from the event ``since``.
    """

    code: str
    name: str
    number: int
    dataset: str = ""
    where: dict[str, str | list[str]] = {}
    value: str = ""
    text: str = ""
    date: str = ""
    baseline: str = ""
    maximum_of: str = ""
    response: bool = False
    endpoint: str = ""
    event: str = ""
    since: str = ""
    described: str = ""
    censored: str = ""


class CriterionSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """CRITy of one parameter; its threshold is that of a ``response`` or an ``endpoint`` of the protocol."""

    parameter: str
    response: Literal["", "complete", "partial"] = ""
    endpoint: str = ""


class AgeGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AGEGR1: everyone below so many years who is in no group before; without a bound the rest."""

    name: str
    below: int | None = None


class PerProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """PPROTFL: evaluated for this endpoint, and none of these rules of the protocol met."""

    evaluated: str
    violations: tuple[str, ...] = ()


class AdamSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One analysis dataset: ``dataset`` as in SDTM, and what only analysis has."""

    dataset: DatasetSpec
    parameters: tuple[Parameter, ...] = ()
    criteria: tuple[CriterionSpec, ...] = ()
    responses: dict[str, str] = {}
    age_groups: tuple[AgeGroup, ...] = ()
    per_protocol: PerProtocol | None = None
    decimals: int = 4

    @property
    def name(self) -> str:
        return self.dataset.name


class AdamSpecs(msgspec.Struct, frozen=True):
    """All specifications of the folder; ``digest`` changes when any file does."""

    datasets: Mapping[str, AdamSpec]
    codelists: Codelists
    digest: str

    @property
    def described(self) -> Specs:
        """The same as what any dataset is described and judged by."""
        return Specs(
            tuple(one.dataset for one in self.datasets.values()), self.codelists, Units({}), self.digest
        )


def load_adam(folder: Path, methods: Mapping[str, frozenset[str]]) -> AdamSpecs:
    """Read ``codelists.yaml`` and every ``ad*.yaml``; ``methods`` are the known ones by dataset class.

    Raises :class:`adapter.errors.MappingError` with file and line for anything unknown or inconsistent.
    """
    codelists = load_codelists(folder / "codelists.yaml")
    digest = hashlib.sha256()
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
        if path.name not in _NO_DATASETS:
            spec = _load(path, codelists, methods)
            found[spec.name] = spec
    return AdamSpecs(found, codelists, digest.hexdigest())


def _load(path: Path, codelists: Codelists, methods: Mapping[str, frozenset[str]]) -> AdamSpec:
    content = read_located(path)
    own: dict[str, Any] = {key: content.value[key] for key in _OWN if key in content.value}
    shared = {key: value for key, value in content.value.items() if key not in _OWN}
    try:
        dataset = msgspec.convert({**shared, "rows": "analysis"}, DatasetSpec)
        spec = msgspec.convert({**own, "dataset": dataset}, AdamSpec)
    except msgspec.ValidationError as fault:
        raise content.error_at(fault) from fault
    if path.stem.upper() != spec.name:
        raise content.error(f"{spec.name} stands in a file of another name", "name")
    _check_variables(content, dataset, codelists, methods)
    _check_parameters(content, spec)
    return spec


def _check_variables(
    content: Located, spec: DatasetSpec, codelists: Codelists, methods: Mapping[str, frozenset[str]]
) -> None:
    known = methods.get(spec.domain_class)
    if known is None:
        raise content.error(f"no class {spec.domain_class!r}", "class", fix=f"one of {', '.join(methods)}")
    names = [variable.name for variable in spec.variables]
    for index, variable in enumerate(spec.variables):
        at = ("variables", index)
        if variable.name in names[:index]:
            raise content.error(f"{variable.name} stands twice", *at)
        if len(variable.name) > 8 or not 1 <= len(variable.label) <= 40 or not variable.label.isascii():
            raise content.error(f"{variable.name}: names have 8, labels 40 ASCII characters", *at)
        if len(variable.source) != 1 or not set(variable.source) <= _ALGORITHMS:
            fix = f"exactly one of {', '.join(sorted(_ALGORITHMS))} under 'from'"
            raise content.error(f"{variable.name} has no algorithm of analysis", *at, fix=fix)
        if variable.algorithm == "derive" and variable.source["derive"] not in known:
            raise content.error(
                f"{variable.name}: no method {variable.source['derive']!r}", *at, fix=", ".join(sorted(known))
            )
        if variable.algorithm == "copy" and not str(variable.source["copy"]).startswith(("DM.", "ADSL.")):
            raise content.error(f"{variable.name}: only DM and ADSL are copied from", *at)
        for name in variable.codelist:
            if name not in codelists.codelists:
                raise content.error(f"no codelist {name}", *at, fix="add it to codelists.yaml")
    for index, name in enumerate(spec.keys):
        if name not in names:
            raise content.error(f"key {name} is no variable of {spec.name}", "keys", index)


def _check_parameters(content: Located, spec: AdamSpec) -> None:
    """PARAMCD has 8 characters and one PARAM; numbers and codes are given once."""
    for index, one in enumerate(spec.parameters):
        at = ("parameters", index)
        former = spec.parameters[:index]
        if not 1 <= len(one.code) <= 8 or len(one.name) > 200 or not one.name.isascii():
            raise content.error(f"{one.code}: PARAMCD has 1 to 8, PARAM up to 200 ASCII characters", *at)
        if any(
            one.code == other.code or one.name == other.name or one.number == other.number for other in former
        ):
            raise content.error(f"{one.code}: code, name or number is given twice", *at)
        if one.maximum_of and one.maximum_of not in {other.code for other in former}:
            raise content.error(f"{one.code} is the maximum of nothing before it", *at)
    codes = {one.code for one in spec.parameters}
    for index, criterion in enumerate(spec.criteria):
        if criterion.parameter not in codes or bool(criterion.response) == bool(criterion.endpoint):
            fix = "a parameter of this file, and either response or endpoint"
            raise content.error("a criterion of nothing", "criteria", index, fix=fix)
