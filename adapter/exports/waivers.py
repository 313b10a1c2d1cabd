"""What the gate found and somebody accepted, each with a reason (``waivers.yaml`` beside the specifications).

A waiver names the rule, the dataset and the variable; it never covers a whole rule. One that matches nothing
is shown, so that it does not outlive its cause.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import ExportError
from adapter.exports.agreement import check_agreement
from adapter.exports.conformance import RULES, Problem, check_datasets, gathered
from adapter.exports.dataset import Dataset
from adapter.exports.located import read_located
from adapter.exports.spec import Specs

_SHORTEST_REASON = 20


class Waiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One accepted finding; ``variable`` is "" for a finding about the dataset."""

    rule: str
    dataset: str
    reason: str
    variable: str = ""


class Gate(msgspec.Struct, frozen=True):
    """The verdict: ``problems`` that stand, ``waived`` with their reasons, and waivers that met nothing."""

    problems: tuple[Problem, ...]
    waived: tuple[tuple[Problem, str], ...]
    unused: tuple[Waiver, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(one for one in self.problems if one.severity == "error")

    def as_checks(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "errors": len(self.errors),
            "warnings": [_shown(one) for one in self.problems if one.severity == "warning"],
            "waived": [{**_shown(one), "reason": reason} for one, reason in self.waived],
            "unusedWaivers": [f"{one.rule} {one.dataset}.{one.variable}" for one in self.unused],
        }


def load_waivers(path: Path, specs: Specs, rules: Collection[str] = RULES) -> tuple[Waiver, ...]:
    """Read the waivers of ``rules``; a missing file is none.

    Raises :class:`adapter.errors.MappingError` with file and line for one that is unknown, given twice or
    without a reason.
    """
    if not path.exists():
        return ()
    content = read_located(path)
    try:
        waivers = msgspec.convert((content.value or {}).get("waivers") or [], list[Waiver])
    except msgspec.ValidationError as fault:
        raise content.error_at(fault, "waivers") from fault
    names = {spec.name: {one.name for one in spec.variables} for spec in specs.datasets}
    seen = set()
    for index, one in enumerate(waivers):
        at = ("waivers", index)
        if one.rule not in rules:
            raise content.error(f"no rule {one.rule}", *at, fix=f"one of {', '.join(sorted(rules))}")
        if one.dataset not in names or (one.variable and one.variable not in names[one.dataset]):
            raise content.error(
                f"no variable {one.dataset}.{one.variable}", *at, fix="see the specifications"
            )
        if len(one.reason.strip()) < _SHORTEST_REASON:
            fix = "say why this finding is acceptable, so that a reviewer can agree"
            raise content.error(f"the waiver of {one.rule} has no reason", *at, fix=fix)
        if (one.rule, one.dataset, one.variable) in seen:
            raise content.error(f"{one.rule} of {one.dataset}.{one.variable} is waived twice", *at)
        seen.add((one.rule, one.dataset, one.variable))
    return tuple(waivers)


def gate(datasets: Sequence[Dataset], specs: Specs, waivers: Sequence[Waiver]) -> Gate:
    """Run every rule over the datasets of SDTM."""
    return judged((*check_datasets(datasets, specs), *check_agreement(datasets)), waivers)


def judged(problems: Iterable[Problem], waivers: Sequence[Waiver]) -> Gate:
    """What stands of the problems, what is waived, and which waivers met none."""
    found = gathered(problems)
    reasons = {(one.rule, one.dataset, one.variable): one for one in waivers}
    standing, waived, used = [], [], set()
    for one in found:
        waiver = reasons.get((one.rule, one.dataset, one.variable))
        if waiver is None:
            standing.append(one)
        else:
            waived.append((one, waiver.reason))
            used.add(waiver)
    unused = tuple(one for one in waivers if one not in used)
    return Gate(tuple(standing), tuple(waived), unused)


def stop_at(found: Gate, waivers: str = "mappings/sdtm/waivers.yaml") -> None:
    """Raise :class:`ExportError` that names each error that nobody waived."""
    if not found.errors:
        return
    listed = "; ".join(
        f"{one.rule} {one.dataset}.{one.variable} ({one.count}, first {one.example or 'the dataset'}):"
        f" {one.text}"
        for one in found.errors
    )
    raise ExportError(
        f"the datasets do not conform: {listed}",
        fix=f"correct the mapping or the data, or waive it with a reason in {waivers}",
    )


def _shown(one: Problem) -> dict[str, Any]:
    return {"rule": one.rule, "dataset": one.dataset, "variable": one.variable, "count": one.count}
