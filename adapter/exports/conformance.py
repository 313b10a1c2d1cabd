"""What must hold of the datasets before they leave, beyond what CDISC CORE looks at.

Three kinds of rule: of one dataset (:mod:`conformance`: terms, labels, lengths, keys, ISO 8601), of the data
themselves (study days, results, flags) and between datasets (:mod:`agreement`). An ``error`` is our own fault
and stops the export; a ``warning`` is how the hospital's data are, is counted in the manifest and does not.
Both can be waived with a reason (:mod:`waivers`). Sources: SDTMIG 3.4; SDTM CT; SAS TS-140.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from adapter.exports.adam.rules import ADAM_RULES
from adapter.exports.dataset import ISO_8601, Cell, Column, Dataset
from adapter.exports.spec import DatasetSpec, Specs, Variable

Severity = Literal["error", "warning"]

RULES: dict[str, tuple[Severity, str]] = {
    "NO_SPECIFICATION": ("error", "a dataset has no specification, or one that was specified is not there"),
    "COLUMNS": ("error", "variables, their order, label or type are not those of the specification"),
    "LABEL_LENGTH": ("error", "a label is empty, not ASCII or longer than 40 characters"),
    "TEXT_LENGTH": ("error", "text is longer than the declared length, or than 200 bytes"),
    "NOT_ASCII": ("error", "text is not printable ASCII"),
    "CELL_TYPE": ("error", "a number in a character variable, or text in a numeric one"),
    "REQUIRED_EMPTY": ("error", "a variable that SDTMIG requires is empty"),
    "TERM_UNKNOWN": ("error", "a value is not in its codelist, which cannot be extended"),
    "TERM_EXTENDED": ("warning", "a value extends its codelist"),
    "TERM_PAIR": ("error", "a test code and its name are not one concept of the terminology"),
    "DOMAIN_VALUE": ("error", "DOMAIN is not the name of the dataset"),
    "STUDY_VALUE": ("error", "STUDYID is not the same in all rows and the start of USUBJID"),
    "KEY_TWICE": ("error", "two rows have the same key"),
    "NUMBER_TWICE": (
        "error",
        "a sequence number is given twice to a subject, or is none",
    ),
    "NOT_ISO_8601": ("error", "a date or time is not ISO 8601 or not in the calendar"),
    "END_BEFORE_START": ("warning", "an end lies before its start"),
    "STUDY_DAY": ("error", "a study day is not counted from RFSTDTC"),
    "RESULT_NUMBER": ("error", "the standardised number is not the standardised text, or has a comparator"),
    "RESULT_UNIT": ("error", "a standardised number has no unit, or a unit no number"),
    "TEST_NOT_DONE": ("error", "a test that was not done has a result"),
    "LAST_BEFORE_EXPOSURE": ("error", "the last-before-exposure flag stands twice, or after the first dose"),
    "SUBJECT_UNKNOWN": ("error", "a subject is not in DM"),
    "VISIT_UNPLANNED": ("error", "a visit is neither that of TV nor named as an unscheduled one"),
    "VISIT_NOT_ATTENDED": ("error", "a record has a visit that SV does not have as attended"),
    "ARM_UNPLANNED": ("error", "an arm is not in TA, or both an arm and a reason for none are given"),
    "ELEMENT_UNKNOWN": ("error", "an element is not in TE, or not at its place in the arm"),
    "EPOCH_UNKNOWN": ("error", "an epoch is not in TA, or not that of SE on its day"),
    "ELEMENTS_OVERLAP": ("warning", "the elements of a subject overlap"),
    "CRITERION_UNKNOWN": ("error", "a criterion is not that of TI, or its answer means that it was met"),
    "AFTER_PARTICIPATION": ("warning", "a date lies after the end of participation"),
    "QUALIFIER_DANGLING": ("error", "a supplemental qualifier belongs to no record"),
    "RELATION_DANGLING": ("error", "a relation leads to no record, or stands alone"),
    "EXPOSURE_DATES": ("error", "first and last dose in DM are not those of EX"),
    "DEATH": ("error", "death flag and date in DM disagree, or with DS"),
}


class Rows:
    """The rows of a dataset as dictionaries, one at a time: a million of them need no more room than one."""

    def __init__(self, dataset: Dataset) -> None:
        self.names = [column.name for column in dataset.columns]
        self._rows = dataset.rows

    def __iter__(self) -> Iterator[dict[str, Cell]]:
        return (dict(zip(self.names, row, strict=True)) for row in self._rows)


class Problem(msgspec.Struct, frozen=True, order=True):
    """One rule broken in one variable: how often, and in which row first (its key, no person)."""

    rule: str
    dataset: str
    variable: str
    example: str
    count: int = 1

    @property
    def severity(self) -> Severity:
        return (RULES.get(self.rule) or ADAM_RULES[self.rule])[0]

    @property
    def text(self) -> str:
        """What the rule says."""
        return (RULES.get(self.rule) or ADAM_RULES[self.rule])[1]


def check_datasets(datasets: Sequence[Dataset], specs: Specs) -> Iterator[Problem]:
    """The rules of single datasets."""
    by_name = {spec.name: spec for spec in specs.datasets}
    for dataset in datasets:
        if dataset.name not in by_name:
            yield Problem("NO_SPECIFICATION", dataset.name, "", "")
            continue
        yield from _columns(dataset, by_name[dataset.name])
        yield from _cells(dataset)
        yield from _terms(dataset, by_name[dataset.name], specs)
        yield from _keys(dataset)
    for name in sorted(by_name.keys() - {dataset.name for dataset in datasets}):
        yield Problem("NO_SPECIFICATION", name, "", "")


def gathered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """One line for each rule and variable, with the count and the first example."""
    counts: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], str] = {}
    for one in problems:
        place = (one.rule, one.dataset, one.variable)
        counts[place] += one.count
        examples.setdefault(place, one.example)
    return tuple(sorted(Problem(*place, examples[place], count) for place, count in counts.items()))


def where(row: dict[str, Cell], dataset: str) -> str:
    """The row by its subject and number, which is all that a message may say of it."""
    number = row.get(f"{dataset}SEQ")
    return " ".join(str(part) for part in (row.get("USUBJID"), number) if part not in (None, ""))


def _columns(dataset: Dataset, spec: DatasetSpec) -> Iterator[Problem]:
    wanted = {one.name: one for one in spec.columns}
    names = [one.name for one in dataset.columns]
    if names != list(wanted):
        missing = next((name for name in wanted if name not in names), "")
        yield Problem("COLUMNS", dataset.name, missing, "the variables or their order")
    for column in dataset.columns:
        theirs = wanted.get(column.name)
        if theirs and (column.label, column.kind) != (theirs.label, theirs.kind):
            yield Problem("COLUMNS", dataset.name, column.name, "label or type")
    for name, label in (("", dataset.label), *((one.name, one.label) for one in dataset.columns)):
        if not label.isascii() or not 1 <= len(label) <= 40:
            yield Problem("LABEL_LENGTH", dataset.name, name, f"{len(label)} characters")
    if dataset.label != spec.label:
        yield Problem("COLUMNS", dataset.name, "", "the dataset label")


def _cells(dataset: Dataset) -> Iterator[Problem]:
    """Each value of a column is judged once, however many rows have it."""
    for index, column in enumerate(dataset.columns):
        wrong = {}
        for cell in {row[index] for row in dataset.rows}:
            if faults := tuple(_cell_faults(column, cell)):
                wrong[cell] = faults
        for row in Rows(dataset) if wrong else ():
            for rule in wrong.get(row[column.name], ()):
                yield Problem(rule, dataset.name, column.name, where(row, dataset.name))


def _cell_faults(column: Column, cell: Cell) -> Iterator[str]:
    if cell is None or cell == "":
        return
    if isinstance(cell, str) is column.is_numeric:
        yield "CELL_TYPE"
        return
    if not isinstance(cell, str):
        return
    if not cell.isascii() or not cell.isprintable():
        yield "NOT_ASCII"
    if len(cell.encode()) > min(column.length, 200):
        yield "TEXT_LENGTH"
    if column.kind in ("date", "datetime") and not is_iso_8601(cell):
        yield "NOT_ISO_8601"


def is_iso_8601(text: str) -> bool:
    """Year, month, day and time as far as known, and a day that exists."""
    if not ISO_8601.fullmatch(text):
        return False
    if len(text) < 10:
        return True
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    return day <= days[month - 1]


def _terms(dataset: Dataset, spec: DatasetSpec, specs: Specs) -> Iterator[Problem]:
    known = {one.name for one in dataset.columns}
    for variable in (one for one in spec.variables if one.name in known):
        yield from _term(dataset, variable, specs)
    yield from _pairs(dataset, spec, specs)
    rows = Rows(dataset)
    if len({row.get("STUDYID") for row in rows}) > 1:
        yield Problem("STUDY_VALUE", dataset.name, "STUDYID", "")
    for row in rows:
        if row.get("USUBJID") and not str(row["USUBJID"]).startswith(f"{row.get('STUDYID')}-"):
            yield Problem("STUDY_VALUE", dataset.name, "STUDYID", where(row, dataset.name))
        if "DOMAIN" in row and row["DOMAIN"] != dataset.name:
            yield Problem("DOMAIN_VALUE", dataset.name, "DOMAIN", where(row, dataset.name))


def _term(dataset: Dataset, variable: Variable, specs: Specs) -> Iterator[Problem]:
    lists = [specs.codelists.codelists[name] for name in variable.codelist]
    allowed = {term for one in lists for term in one.terms}
    closed = bool(lists) and not any(one.extensible for one in lists)
    index = [one.name for one in dataset.columns].index(variable.name)
    wrong: dict[Cell, str] = {}
    for cell in {row[index] for row in dataset.rows}:
        if cell in (None, ""):
            if variable.core == "Req":
                wrong[cell] = "REQUIRED_EMPTY"
        elif lists and cell not in allowed and not _is_number(cell):
            wrong[cell] = "TERM_UNKNOWN" if closed else "TERM_EXTENDED"
    for row in dataset.rows if wrong else ():
        if row[index] in wrong:
            record = dict(zip((one.name for one in dataset.columns), row, strict=True))
            yield Problem(wrong[row[index]], dataset.name, variable.name, where(record, dataset.name))


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str) or bool(re.fullmatch(r"[<>]?=?-?\d[\d.:eE+-]*", cell))


def _pairs(dataset: Dataset, spec: DatasetSpec, specs: Specs) -> Iterator[Problem]:
    """A short name and its long name are one concept: the same NCI code in both lists."""
    by_name = {one.name: one for one in spec.variables}
    for name in [one for one in by_name if one.endswith(("TESTCD", "PARMCD"))]:
        test = name.removesuffix("CD")
        codes, names = by_name[name].codelist, by_name.get(test, by_name[name]).codelist
        if not codes or not names or test not in by_name:
            continue
        short, long = specs.codelists.codelists[codes[0]].terms, specs.codelists.codelists[names[0]].terms
        for row in Rows(dataset):
            code, words = str(row.get(name) or ""), str(row.get(test) or "")
            if (code in short or words in long) and short.get(code) != long.get(words):
                yield Problem("TERM_PAIR", dataset.name, name, where(row, dataset.name))


def _keys(dataset: Dataset) -> Iterator[Problem]:
    names = [one.name for one in sorted(dataset.columns, key=lambda one: one.key) if one.key]
    seen: set[tuple[Cell, ...]] = set()
    numbers: set[tuple[Cell, ...]] = set()
    number = f"{dataset.name}SEQ"
    group = "TSPARMCD" if dataset.name == "TS" else "USUBJID"
    for row in Rows(dataset):
        place = where(row, dataset.name)
        key = tuple(row.get(name) for name in names)
        if key in seen:
            yield Problem("KEY_TWICE", dataset.name, names[-1] if names else "", place)
        seen.add(key)
        if number in row:
            given = (row.get(group), row[number])
            if given in numbers or not isinstance(row[number], int) or int(str(row[number])) < 1:
                yield Problem("NUMBER_TWICE", dataset.name, number, place)
            numbers.add(given)
