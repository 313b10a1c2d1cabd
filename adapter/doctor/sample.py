"""How much of a small sample of laboratory results the tables understand. Codes and units only are shown."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from adapter.doctor.finding import Finding
from adapter.mappers import r4
from adapter.mappers.results.codes import meaning_of
from adapter.mappers.terminology import Terminology
from adapter.source.client import FhirClient
from adapter.source.probe import probe

SIZE = 100
_SHOWN = 8
# Whoever typed a person's name into a code field does not see it here again.
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+\-]{0,23}")
_UNIT = re.compile(r"[A-Za-zµμ%0-9/*.^\[\]{}()+\-·× ]{1,20}")
_LONG_NUMBER = re.compile(r"[0-9]{9}")


async def results(client: FhirClient, terminology: Terminology) -> list[Finding]:
    """Read up to :data:`SIZE` Observations and say which codes and units no table knows."""
    answer = await probe(client, "Observation", {"category": "laboratory"}, count=SIZE)
    if answer.refused or not answer.entries:
        answer = await probe(client, "Observation", {}, count=SIZE)
    if answer.refused:
        return [Finding("codes", "warn", f"no sample could be read: {answer.refused}", "see searches")]
    if not answer.entries:
        return [Finding("codes", "warn", "there are no Observations to look at", "try again when there are")]
    return judged(answer.entries, terminology)


def judged(observations: tuple[dict[str, Any], ...], terminology: Terminology) -> list[Finding]:
    """What is mapped, and the most frequent codes and units that are not."""
    unmapped: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    mapped = measured = fitting = 0
    for one in observations:
        try:
            concept = msgspec.convert(one.get("code") or {}, r4.CodeableConcept, strict=False)
        except msgspec.ValidationError:
            unmapped["(malformed)"] += 1
            continue
        meaning = meaning_of(concept, terminology)
        if not meaning.entries:
            unmapped[_code(concept, terminology)] += 1
            continue
        mapped += 1
        quantity = one.get("valueQuantity")
        if isinstance(quantity, dict) and "value" in quantity:
            measured += 1
            entry, unit = meaning.entries[0], str(quantity.get("code") or quantity.get("unit") or "")
            known = terminology.unit_for(entry.concept, unit, entry.code)
            ok = known.usable if known else terminology.default_unit(entry.concept, entry.code) is not None
            fitting += ok
            if not ok:
                strange[f"{entry.concept}: {_unit(unit)}"] += 1
    return [_codes(len(observations), mapped, unmapped), *_units(measured, fitting, strange)]


def _codes(seen: int, mapped: int, unmapped: Counter[str]) -> Finding:
    share = f"{mapped} of {seen} sampled Observations are known to the tables"
    if not unmapped:
        return Finding("codes", "ok", share)
    fix = "if one of these is a test the protocol asks for, map it in mappings/sites/<site>/codes.csv"
    return Finding("codes", "ok" if mapped else "warn", f"{share}; unknown: {_often(unmapped)}", fix)


def _units(measured: int, fitting: int, strange: Counter[str]) -> list[Finding]:
    if not measured:
        return []
    share = f"{fitting} of {measured} numbers have a unit that converts"
    if not strange:
        return [Finding("units", "ok", share)]
    fix = "add or confirm the spelling in mappings/sites/<site>/units.csv; until then these do not decide"
    return [Finding("units", "warn", f"{share}; not: {_often(strange)}", fix)]


def _often(counted: Counter[str]) -> str:
    first = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} ({times})" for name, times in first[:_SHOWN])
    return shown + (f" and {len(first) - _SHOWN} more" if len(first) > _SHOWN else "")


def _code(concept: r4.CodeableConcept, terminology: Terminology) -> str:
    coding = next((one for one in concept.coding if one.code), None)
    if coding is None:
        return "(text only)" if concept.text else "(no code)"
    system, code = terminology.system(coding.system or ""), str(coding.code)
    plain = _CODE.fullmatch(code) and (system == "sct" or not _LONG_NUMBER.search(code.replace("-", "")))
    return f"{system or 'no system'}|{code if plain else '(not shown)'}"


def _unit(unit: str) -> str:
    if not unit:
        return "(none)"
    return unit if _UNIT.fullmatch(unit) and not _LONG_NUMBER.search(unit) else "(not shown)"
