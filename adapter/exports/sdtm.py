"""SDTM datasets out of facts and decisions, read from top to bottom.

Patients become participants (consent decides who leaves), participants become records (one per row),
records become rows by the algorithms of the specification, rows become a checked dataset, and datasets
become files. Nothing here knows a domain by name; what differs between domains is in ``mappings/sdtm``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from adapter.errors import ExportError
from adapter.exports.consent import standing
from adapter.exports.dataset import Dataset, Row, check, sorted_rows
from adapter.exports.documents import sdtm_documents
from adapter.exports.origin import Origin, origins_of
from adapter.exports.package import ExportReport, write_package
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.record import NOBODY, Person, Record
from adapter.exports.results import has_result
from adapter.exports.rows import Recipe, fill, finish, recipe
from adapter.exports.selection import select
from adapter.exports.spec import DatasetSpec, Specs, load_specs
from adapter.exports.study import StudyConfig
from adapter.exports.subjects import Participant, participant
from adapter.exports.trial_design import DESIGN_KINDS, DesignKind, design_rows
from adapter.model.decision import Decision
from adapter.model.facts import Facts, Finding

_NUMERIC = re.compile(r"[<>]?=?-?\d[\d.:-]*")


class Build(msgspec.Struct, frozen=True):
    """The datasets in memory, and what was kept back: counts by dataset or rule, and reason.

    ``subjects`` is Patient.id -> SUBJID; ``origins`` tell which record each numbered row was made from.
    """

    datasets: tuple[Dataset, ...]
    subjects: dict[str, str]
    withheld: dict[str, int]
    extensions: dict[str, tuple[str, ...]]
    people: tuple[Person, ...] = ()
    origins: tuple[Origin, ...] = ()


def export_sdtm(
    facts: Facts,
    decisions: Sequence[Decision],
    *,
    study: StudyConfig,
    specs: Path,
    target: Path,
    key: bytes,
    snapshot_time: datetime,
) -> ExportReport:
    """Write the datasets in every format, Define-XML and the manifest under ``target``, all or nothing.

    The same facts, decisions, study, specifications, key and time give the same bytes. Raises
    :class:`adapter.errors.MappingError` for a specification, :class:`ExportError` for data that cannot be
    carried unchanged, ``ValueError`` for a ``snapshot_time`` without a zone.
    """
    if snapshot_time.tzinfo is None:
        raise ValueError("snapshot_time needs a zone")
    loaded = load_specs(specs)
    built = build_sdtm(facts, decisions, study=study, specs=loaded, key=key, snapshot_time=snapshot_time)
    protocols = sorted({f"{one.protocol} {one.protocol_version}" for one in decisions})
    return write_package(
        target,
        built.datasets,
        study_id=study.study_id,
        site_id=study.site_id,
        snapshot_time=snapshot_time,
        standards={"SDTMIG": "3.4", "SDTM CT": loaded.codelists.package},
        versions={"specifications": loaded.digest, "protocol": "; ".join(protocols), **study.versions},
        subjects=built.subjects,
        withheld=built.withheld,
        extensions=built.extensions,
        documents=sdtm_documents(study, loaded, specs, built.datasets, snapshot_time),
    )


def build_sdtm(
    facts: Facts,
    decisions: Sequence[Decision],
    *,
    study: StudyConfig,
    specs: Specs,
    key: bytes,
    snapshot_time: datetime,
) -> Build:
    """The datasets of every specification; see :func:`export_sdtm` for what is raised."""
    pseudonyms = Pseudonymiser(study.study_id, study.site_id, key)
    withheld: Counter[str] = Counter()
    people = _participants(facts, decisions, study, pseudonyms, snapshot_time, withheld)
    datasets, extensions, origins = [], {}, list[Origin]()
    for spec in specs.datasets:
        made = recipe(spec)
        rows: list[Row] = []
        if spec.rows in DESIGN_KINDS:
            rows = finish(made, _design_records(spec.rows, made, study, specs, pseudonyms))
        for one in people if spec.rows not in DESIGN_KINDS else ():
            records = _records(spec, made, one, study, specs, pseudonyms, withheld)
            rows += finish(made, records)
            origins += origins_of(spec.name, records)
        datasets.append(_dataset(spec, rows, specs))
        extensions.update(_extensions(spec, datasets[-1], specs))
    mapped = {concept for spec in specs.datasets for concept in spec.terms}
    for one in people:
        for finding in one.facts.findings:
            if finding.concept and finding.category != "questionnaire" and finding.concept not in mapped:
                withheld[f"findings NO_DOMAIN {finding.concept}"] += 1
    numbers = {one.facts.subjects[0].id: one.person.subjid for one in people}
    known = tuple(one.person for one in people)
    return Build(tuple(datasets), numbers, dict(sorted(withheld.items())), extensions, known, tuple(origins))


def _participants(
    facts: Facts,
    decisions: Sequence[Decision],
    study: StudyConfig,
    pseudonyms: Pseudonymiser,
    snapshot_time: datetime,
    withheld: Counter[str],
) -> list[Participant]:
    latest: dict[str, Decision] = {}
    for decision in decisions:
        known = latest.get(decision.subject)
        if known is None or (known.as_of, known.fingerprint) < (decision.as_of, decision.fingerprint):
            latest[decision.subject] = decision
    leaving = []
    for subject, part in facts.by_subject().items():
        judged = standing(part, study)
        if part.subjects[0].excluded or not judged.exported:
            withheld[f"subjects {part.subjects[0].excluded or judged.reason}"] += 1
            continue
        leaving.append((subject, part, judged))
    numbers = pseudonyms.subject_numbers((part.subjects[0] for _, part, _ in leaving), study.numbers)
    people = []
    for subject, part, judged in leaving:
        number = numbers[subject]
        one = participant(
            part,
            judged,
            latest.get(subject),
            study,
            number,
            pseudonyms.usubjid(number),
            snapshot_time.date(),
        )
        withheld.update({f"rows {reason}": count for reason, count in one.withheld.items()})
        people.append(one)
    return sorted(people, key=lambda one: one.person.usubjid)


def _records(
    spec: DatasetSpec,
    made: Recipe,
    one: Participant,
    study: StudyConfig,
    specs: Specs,
    pseudonyms: Pseudonymiser,
    withheld: Counter[str],
) -> list[Record]:
    """One record per row of the dataset for one participant; a row needs a result or a coded topic."""
    records = []
    for fact, term, treatment, order in select(spec, one, study, pseudonyms, withheld):
        record = Record(one.person, fact, term, study, specs.units, pseudonyms, treatment, order, {})
        if isinstance(fact, Finding) and not has_result(record):
            withheld[f"{spec.name} NO_RESULT"] += 1
            continue
        fill(made, record)
        topic = next((name for name in (f"{spec.name}TERM", f"{spec.name}TRT") if name in record.values), "")
        if topic and not record.values[topic]:
            withheld[f"{spec.name} NO_CODED_TERM"] += 1
            continue
        records.append(record)
    return records


def _design_records(
    kind: DesignKind, made: Recipe, study: StudyConfig, specs: Specs, pseudonyms: Pseudonymiser
) -> list[Record]:
    """One record per row that the protocol itself plans."""
    return [
        fill(made, Record(NOBODY, fact, {}, study, specs.units, pseudonyms, "", f"{number:04}", {}))
        for number, fact in enumerate(design_rows(kind, study))
    ]


def _dataset(spec: DatasetSpec, rows: list[Row], specs: Specs) -> Dataset:
    columns = spec.columns
    dataset = Dataset(spec.name, spec.label, columns, sorted_rows(columns, rows))
    check(dataset)
    for index, variable in enumerate(spec.variables):
        closed = [specs.codelists.codelists[name] for name in variable.codelist]
        allowed = {term for one in closed for term in one.terms}
        is_closed = bool(closed) and not any(one.extensible for one in closed)
        where = f"{spec.name}.{variable.name}"
        for row in dataset.rows:
            cell = row[index]
            if variable.core == "Req" and cell in (None, ""):
                raise ExportError("a required variable is empty", where=where)
            if is_closed and cell not in (None, "") and cell not in allowed:
                raise ExportError(f"{cell!r} is not in {' or '.join(variable.codelist)}", where=where)
    return dataset


def _extensions(spec: DatasetSpec, dataset: Dataset, specs: Specs) -> dict[str, tuple[str, ...]]:
    """Values outside the embedded terms of extensible codelists, for the reviewer; results are no terms."""
    found = {}
    for index, variable in enumerate(spec.variables):
        known = {term for name in variable.codelist for term in specs.codelists.codelists[name].terms}
        words = {str(row[index]) for row in dataset.rows if known and row[index]}
        extra = {word for word in words - known if not _NUMERIC.fullmatch(word)}
        if extra:
            found[f"{spec.name}.{variable.name}"] = tuple(sorted(extra))
    return found
