"""What ADaMIG 1.3 asks of analysis datasets and CDISC CORE does not check: rules over finished tables.

A rule yields one remark per place it is broken at; nothing is repaired. Rows are named by subject and ASEQ.
What each rule says stands in :mod:`rules`; what holds of any dataset is that of SDTM's gate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction

import msgspec

from adapter.exports.adam.rules import ADAM_RULES
from adapter.exports.adam.spec import AdamSpecs
from adapter.exports.conformance import RULES as ANY_RULES
from adapter.exports.conformance import Problem, check_datasets
from adapter.exports.dataset import Cell, Dataset
from adapter.exports.waivers import Gate, Waiver, judged

_REQUIRED = {
    "ADSL": (*("STUDYID", "USUBJID", "SUBJID", "SITEID", "AGE", "AGEU", "SEX", "RACE", "ARM", "TRT01P"),),
    "BDS": ("STUDYID", "USUBJID", "PARAMCD", "PARAM"),
}
_NEVER_EMPTY = ("STUDYID", "USUBJID", "SUBJID", "SITEID", "SEX", "PARAMCD", "PARAM")
_ROUNDED = Fraction(1, 10_000)
_Record = Mapping[str, Cell]


class Remark(msgspec.Struct, frozen=True, order=True):
    """One place where a rule is broken; ``example`` is USUBJID and ASEQ, "" where it is the whole dataset."""

    rule: str
    dataset: str
    variable: str
    example: str
    message: str


class Package(msgspec.Struct, frozen=True):
    """Analysis datasets by name, and the SDTM datasets they were made from."""

    adam: Mapping[str, Dataset]
    sdtm: Mapping[str, Dataset]

    def analyses(self) -> Iterator[tuple[str, list[_Record]]]:
        """The datasets with parameters."""
        for name, dataset in sorted(self.adam.items()):
            if any(column.name == "PARAMCD" for column in dataset.columns):
                yield name, list(dataset.records())


def check_adam(adam: Sequence[Dataset], sdtm: Sequence[Dataset]) -> tuple[Remark, ...]:
    """Every remark of every rule, in order; none for a package that conforms."""
    package = Package({one.name: one for one in adam}, {one.name: one for one in sdtm})
    return tuple(sorted(remark for rule in RULES.values() for remark in rule(package)))


def adam_gate(
    adam: Sequence[Dataset], sdtm: Sequence[Dataset], specs: AdamSpecs, waivers: Sequence[Waiver]
) -> Gate:
    """The rules of any dataset (terms, labels, lengths, keys) and those of analysis, in the gate's shape."""
    remarks = (Problem(one.rule, one.dataset, one.variable, one.example) for one in check_adam(adam, sdtm))
    return judged((*check_datasets(adam, specs.described), *remarks), waivers)


def required_variables(package: Package) -> Iterator[Remark]:
    """The variables that ADaMIG requires are there, and those that identify a row are never empty."""
    for name, dataset in sorted(package.adam.items()):
        names = [column.name for column in dataset.columns]
        wanted = _REQUIRED["ADSL" if name == "ADSL" else "BDS"]
        for variable in wanted:
            if variable not in names:
                yield Remark("AD01", name, variable, "", "a required variable is missing")
        for record in dataset.records():
            for variable in _NEVER_EMPTY:
                if variable in names and record[variable] in (None, ""):
                    yield Remark("AD01", name, variable, _place(record), "a required variable is empty")


def one_row_per_subject(package: Package) -> Iterator[Remark]:
    """ADSL has one row per subject of DM, and no analysis speaks of anybody else."""
    adsl = [str(one["USUBJID"]) for one in package.adam["ADSL"].records()]
    known = {str(one["USUBJID"]) for one in package.sdtm["DM"].each()}
    for subject in sorted({one for one in adsl if adsl.count(one) > 1} | (set(adsl) ^ known)):
        yield Remark("AD02", "ADSL", "USUBJID", subject, "not exactly one row for a subject of DM")
    for name, records in package.analyses():
        for subject in sorted({str(one["USUBJID"]) for one in records} - set(adsl)):
            yield Remark("AD02", name, "USUBJID", subject, "a subject that is not in ADSL")


def names_and_codes(package: Package) -> Iterator[Remark]:
    """PARAM and PARAMCD, PARAMN and PARAMCD, AVISIT and AVISITN are one to one."""
    for name, records in package.analyses():
        for left, right in (("PARAM", "PARAMCD"), ("PARAMN", "PARAMCD"), ("AVISIT", "AVISITN")):
            for one, other in ((left, right), (right, left)):
                meant = defaultdict(set)
                for record in records:
                    if one in record and record[one] not in (None, ""):
                        meant[record[one]].add(record.get(other))
                for value, found in meant.items():
                    if len(found) > 1:
                        yield Remark("AD03", name, one, "", f"{value} has several {other}")


def values_and_texts(package: Package) -> Iterator[Remark]:
    """Within a parameter a value has one AVALC where AVALC is no number."""
    for name, records in package.analyses():
        meant = defaultdict(set)
        for record in records:
            text = record.get("AVALC")
            if record.get("AVAL") is not None and isinstance(text, str) and text and not _is_number(text):
                meant[record["PARAMCD"], record["AVAL"]].add(text)
        for (code, value), texts in meant.items():
            if len(texts) > 1:
                yield Remark("AD04", name, "AVALC", "", f"{code} {value} is told in several ways")


def one_baseline(package: Package) -> Iterator[Remark]:
    """At most one baseline record per subject and parameter, and it is not after randomisation."""
    for name, records in package.analyses():
        seen = set()
        for record in records:
            if record.get("ABLFL") != "Y":
                continue
            group = (record["USUBJID"], record["PARAMCD"])
            if group in seen:
                yield Remark("AD05", name, "ABLFL", _place(record), "a second baseline record")
            seen.add(group)
            if isinstance(record.get("ADY"), int) and _number(record["ADY"]) > 1:
                yield Remark("AD05", name, "ABLFL", _place(record), "a baseline after randomisation")


def baseline_arithmetic(package: Package) -> Iterator[Remark]:
    """BASE is AVAL of the baseline record; CHG is AVAL - BASE; PCHG is 100 CHG / BASE."""
    for name, records in package.analyses():
        bases = {
            (one["USUBJID"], one["PARAMCD"]): one.get("AVAL") for one in records if one.get("ABLFL") == "Y"
        }
        for record in records:
            base, value = record.get("BASE"), record.get("AVAL")
            if (
                "BASE" in record
                and base != bases.get((record["USUBJID"], record["PARAMCD"]))
                and (base is not None)
            ):
                yield Remark("AD06", name, "BASE", _place(record), "not the value of the baseline record")
            for variable in ("CHG", "PCHG"):
                if record.get(variable) is None:
                    continue
                if value is None or base is None:
                    yield Remark("AD06", name, variable, _place(record), "a change of nothing")
                    continue
                difference = _number(value) - _number(base)
                wanted = difference if variable == "CHG" else 100 * difference / _number(base)
                if abs(_number(record[variable]) - wanted) > (0 if variable == "CHG" else _ROUNDED):
                    yield Remark("AD06", name, variable, _place(record), "not the change from BASE")


def one_record_analysed(package: Package) -> Iterator[Remark]:
    """ANL01FL marks at most one record per subject, parameter and visit."""
    for name, records in package.analyses():
        seen = set()
        for record in records:
            if record.get("ANL01FL") != "Y":
                continue
            group = (record["USUBJID"], record["PARAMCD"], record.get("AVISITN"))
            if group in seen:
                yield Remark("AD07", name, "ANL01FL", _place(record), "a second record of the visit")
            seen.add(group)


def flags(package: Package) -> Iterator[Remark]:
    """A flag is Y, N or empty; ABLFL and ANLzzFL are Y or empty; population flags of ADSL are never empty."""
    for name, dataset in sorted(package.adam.items()):
        names = [column.name for column in dataset.columns if column.name.endswith("FL")]
        for record in dataset.records():
            for variable in names:
                only_yes = variable == "ABLFL" or variable.startswith("ANL")
                allowed = {"Y", "", None} if only_yes else {"Y", "N", "", None}
                if name == "ADSL" and variable != "DTHFL":
                    allowed = {"Y", "N"}
                if record[variable] not in allowed:
                    yield Remark("AD08", name, variable, _place(record), f"{record[variable]!r} is no flag")


def criteria(package: Package) -> Iterator[Remark]:
    """CRITyFL stands only beside CRITy, and CRITy has one wording per parameter."""
    for name, records in package.analyses():
        wordings = defaultdict(set)
        for record in records:
            for variable in [one for one in record if one.startswith("CRIT") and one.endswith("FL")]:
                text = record.get(variable.removesuffix("FL"))
                if record[variable] not in (None, "") and text in (None, ""):
                    yield Remark("AD09", name, variable, _place(record), "a flag without a criterion")
                if text not in (None, ""):
                    wordings[record["PARAMCD"], variable].add(text)
        for (code, variable), texts in wordings.items():
            if len(texts) > 1:
                yield Remark("AD09", name, variable, "", f"{code} has several wordings of one criterion")


def sources(package: Package) -> Iterator[Remark]:
    """SRCDOM, SRCVAR and SRCSEQ name a record and a variable that exist, of the same subject."""
    keys = {
        name: {(one.get("USUBJID"), one.get(f"{name}SEQ")) for one in dataset.each()}
        for name, dataset in package.sdtm.items()
        if any(column.name == f"{name}SEQ" for column in dataset.columns)
    }
    for name, records in package.analyses():
        for record in records:
            domain, variable, number = (record.get(one) for one in ("SRCDOM", "SRCVAR", "SRCSEQ"))
            given = [one not in (None, "") for one in (domain, variable, number)]
            if not any(given):
                continue
            if not all(given) or (record["USUBJID"], number) not in keys.get(str(domain), set()):
                yield Remark("AD10", name, "SRCSEQ", _place(record), "no such record of this subject")
            elif variable not in [column.name for column in package.sdtm[str(domain)].columns]:
                yield Remark("AD10", name, "SRCVAR", _place(record), f"{domain} has no {variable}")


def sequence(package: Package) -> Iterator[Remark]:
    """ASEQ is 1..n within the subject."""
    for name, records in package.analyses():
        numbers = defaultdict(list)
        for record in records:
            numbers[record["USUBJID"]].append(record.get("ASEQ"))
        for subject, found in numbers.items():
            if sorted(map(_number, found)) != list(range(1, len(found) + 1)):
                yield Remark("AD11", name, "ASEQ", str(subject), "not 1 to n")


def times(package: Package) -> Iterator[Remark]:
    """AVAL is ADT - STARTDT + 1; CNSR is 0 for an event, else positive with the date described."""
    for name, records in package.analyses():
        for record in records:
            if "CNSR" not in record:
                continue
            place, censor = _place(record), record["CNSR"]
            days = [record.get(one) for one in ("ADT", "STARTDT", "AVAL")]
            if None in days or _number(days[2]) != _number(days[0]) - _number(days[1]) + 1:
                yield Remark("AD12", name, "AVAL", place, "not ADT - STARTDT + 1")
            if not isinstance(censor, int) or censor < 0:
                yield Remark("AD12", name, "CNSR", place, "neither 0 nor a positive number")
            elif (censor > 0) != bool(record.get("CNSDTDSC")) or not record.get("EVNTDESC"):
                yield Remark("AD12", name, "CNSDTDSC", place, "an event or censoring not described")


def dates(package: Package) -> Iterator[Remark]:
    """In ADSL treatment starts before it ends, and nobody is randomised without a day."""
    for record in package.adam["ADSL"].records():
        first, last = record.get("TRTSDT"), record.get("TRTEDT")
        if first is not None and last is not None and _number(first) > _number(last):
            yield Remark("AD13", "ADSL", "TRTEDT", _place(record), "ends before it starts")
        if (record.get("RANDFL") == "Y") != (record.get("RANDDT") is not None):
            yield Remark("AD13", "ADSL", "RANDDT", _place(record), "RANDFL and RANDDT disagree")


def imputed(package: Package) -> Iterator[Remark]:
    """A row imputed as non-responder says N, has no source and is not in the observed set."""
    for name, records in package.analyses():
        for record in records:
            if record.get("DTYPE") == "NRI" and (
                record.get("AVALC") != "N" or record.get("ANL02FL") == "Y" or record.get("SRCSEQ") is not None
            ):
                yield Remark("AD14", name, "DTYPE", _place(record), "an imputed row that looks observed")


RULES: dict[str, Callable[[Package], Iterator[Remark]]] = {
    "AD01": required_variables,
    "AD02": one_row_per_subject,
    "AD03": names_and_codes,
    "AD04": values_and_texts,
    "AD05": one_baseline,
    "AD06": baseline_arithmetic,
    "AD07": one_record_analysed,
    "AD08": flags,
    "AD09": criteria,
    "AD10": sources,
    "AD11": sequence,
    "AD12": times,
    "AD13": dates,
    "AD14": imputed,
}


WAIVABLE = frozenset({*ADAM_RULES, *ANY_RULES})


def _place(record: _Record) -> str:
    number = record.get("ASEQ")
    return f"{record['USUBJID']}" + (f" {number}" if number is not None else "")


def _number(cell: Cell) -> Fraction:
    return Fraction(cell) if isinstance(cell, int | Fraction | Decimal) else Fraction(-1)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:1] in "<>-"
