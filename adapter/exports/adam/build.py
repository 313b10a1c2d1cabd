"""Analysis datasets, read from top to bottom: subjects, their readings, responses and times, then checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from adapter.errors import ExportError
from adapter.exports.adam.adsl import ADSL_METHODS, Whole
from adapter.exports.adam.methods import BDS_METHODS
from adapter.exports.adam.readings import reading_rows
from adapter.exports.adam.responses import response_rows, time_rows
from adapter.exports.adam.spec import AdamSpec, AdamSpecs, load_adam
from adapter.exports.adam.subject import Records, Row, RowsOfSubjects, SourceRow, Subject
from adapter.exports.adam.thresholds import endpoint_threshold, windows
from adapter.exports.dataset import Cell, Dataset, check
from adapter.exports.dataset import Row as Cells
from adapter.exports.runs import SortedRows
from adapter.exports.sdtm import Build
from adapter.exports.study import StudyConfig
from adapter.model.monitoring import Monitoring
from adapter.model.protocol import Protocol

SUBJECTS, READINGS, RESPONSES, TIMES = "ADSL", "ADLB", "ADRS", "ADTTE"
NOT_EXPORTED = "MONITORED_NOT_EXPORTED"
METHODS: Mapping[str, frozenset[str]] = {
    "SUBJECT LEVEL ANALYSIS DATASET": frozenset(ADSL_METHODS),
    "BASIC DATA STRUCTURE": frozenset(BDS_METHODS),
}


class AdamBuild(msgspec.Struct, frozen=True):
    """The analysis datasets in memory, and what was kept back or has no SDTM record, by reason."""

    datasets: tuple[Dataset, ...]
    withheld: dict[str, int]


def load_specs(folder: Path) -> AdamSpecs:
    """The specifications under ``mappings/adam``; raises :class:`adapter.errors.MappingError`."""
    return load_adam(folder, METHODS)


def build_adam(
    sdtm: Build,
    monitorings: Iterable[Monitoring],
    *,
    protocol: Protocol,
    study: StudyConfig,
    specs: AdamSpecs,
) -> AdamBuild:
    """ADSL for everyone in DM; ADLB, ADRS and ADTTE for everyone randomised among them.

    The order of the input does not show. Raises :class:`ExportError` for a required variable that is empty
    and for a specification that asks the protocol for something it does not say.
    """
    withheld: Counter[str] = Counter()
    subjects = _subjects(sdtm, monitorings, protocol, study, withheld)
    rows = {name: SortedRows(spec.dataset.columns) for name, spec in specs.datasets.items()}
    for one in subjects:
        readings = reading_rows(one, specs.datasets[READINGS], protocol) if one.monitoring else []
        whole = Whole(one, specs.datasets[SUBJECTS], [arm.code for arm in study.arms], readings)
        antibody = [item.endpoint for item in specs.datasets[READINGS].criteria if item.endpoint]
        whole.positive = endpoint_threshold(protocol, antibody[0]) if antibody else None
        one.adsl = _subject_row(specs.datasets[SUBJECTS], whole)
        rows[SUBJECTS].add([tuple(one.adsl.values())])
        if one.monitoring is None:
            continue
        made = {
            READINGS: readings,
            RESPONSES: response_rows(one, specs.datasets[RESPONSES], protocol),
            TIMES: list(time_rows(one, specs.datasets[TIMES])),
        }
        for name, found in made.items():
            withheld.update(f"{name} NO_SOURCE_ROW {row.parameter.code}" for row in found if _rootless(row))
            rows[name].add(_bds_rows(specs.datasets[name], found))
    datasets = tuple(
        _dataset(specs, specs.datasets[name], found.finished()) for name, found in sorted(rows.items())
    )
    return AdamBuild(datasets, dict(sorted(withheld.items())))


def _subjects(
    sdtm: Build,
    monitorings: Iterable[Monitoring],
    protocol: Protocol,
    study: StudyConfig,
    withheld: Counter[str],
) -> list[Subject]:
    tables = {one.name: one for one in sdtm.datasets}
    by_person = {name: RowsOfSubjects(table) for name, table in tables.items()}
    sources: dict[str, dict[tuple[str, str, str], SourceRow]] = {}
    for one in sdtm.origins:
        own = sources.setdefault(one.usubjid, {})
        row = SourceRow(one.dataset, one.number)
        own[one.source.reference, one.source.path, one.concept] = row
        own.setdefault((one.source.reference, one.source.path, ""), row)
    followed: dict[str, Monitoring] = {}
    for watched in sorted(monitorings, key=lambda row: row.subject):
        number = sdtm.subjects.get(watched.subject)
        if number is None:
            withheld[f"subjects {NOT_EXPORTED}"] += 1
        elif watched.randomised is not None and watched.randomised <= watched.as_of:
            followed[number] = watched
    found = []
    for person in sorted(sdtm.people, key=lambda person: person.usubjid):
        watched_here = followed.get(person.subjid)
        zero = watched_here.randomised if watched_here else None
        found.append(
            Subject(
                person,
                by_person["DM"].of(person.usubjid)[0],
                Records(by_person, person.usubjid),
                sources.get(person.usubjid, {}),
                watched_here,
                windows(protocol, zero) if zero else (),
            )
        )
    return found


def _subject_row(spec: AdamSpec, whole: Whole) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for variable in spec.dataset.variables:
        match variable.algorithm:
            case "constant":
                found[variable.name] = variable.source["constant"]
            case "copy":
                found[variable.name] = whole.subject.dm.get(str(variable.source["copy"]).partition(".")[2])
            case _:
                found[variable.name] = ADSL_METHODS[variable.source["derive"]](whole)
    return found


def _bds_rows(spec: AdamSpec, rows: Sequence[Row]) -> list[Cells]:
    ordered = sorted(rows, key=_order)
    for number, row in enumerate(ordered, start=1):
        row.sequence = number
    return [tuple(_cell(variable.source, row) for variable in spec.dataset.variables) for row in ordered]


def _order(row: Row) -> tuple[int, int, str, str, int]:
    day = row.day.isoformat() if row.day else ""
    source = row.source or SourceRow("", 0)
    return (row.parameter.number, row.window.number if row.window else 0, day, source.dataset, source.number)


def _cell(source: Mapping[str, str], row: Row) -> Cell:
    if "constant" in source:
        return source["constant"]
    if "copy" in source:
        head, _, name = str(source["copy"]).partition(".")
        return (row.subject.dm if head == "DM" else row.subject.adsl).get(name)
    return BDS_METHODS[source["derive"]](row)


def _rootless(row: Row) -> bool:
    """Whether a day is known that a value comes from, but no SDTM record."""
    return row.day is not None and row.source is None and row.censor != 2 and row.derivation == ""


def _dataset(specs: AdamSpecs, spec: AdamSpec, rows: Sequence[Cells]) -> Dataset:
    dataset = Dataset(spec.name, spec.dataset.label, spec.dataset.columns, rows)
    check(dataset)
    for index, variable in enumerate(spec.dataset.variables):
        lists = [specs.codelists.codelists[name] for name in variable.codelist]
        allowed = {term for one in lists for term in one.terms}
        closed = bool(lists) and not any(one.extensible for one in lists)
        for row in dataset.rows:
            if closed and row[index] not in (None, "") and row[index] not in allowed:
                message = f"{row[index]!r} is not in {' or '.join(variable.codelist)}"
                raise ExportError(message, where=f"{spec.name}.{variable.name}")
    return dataset
