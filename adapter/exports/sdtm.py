"""SDTM datasets out of facts and decisions, read from top to bottom.

Patients become participants (consent decides who leaves), participants become records (one per row),
records become rows by the algorithms of the specification, rows become a checked dataset, and datasets
become files. Nothing here knows a domain by name; what differs between domains is in ``mappings/sdtm``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import ExportError
from adapter.exports.codelists import folded
from adapter.exports.consent import standing
from adapter.exports.dataset import Cell, Dataset, Row, check, sorted_rows
from adapter.exports.derive import GROUP_METHODS, ROW_METHODS, number_rows
from adapter.exports.package import ExportReport, write_package
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.record import Fact, Record, Unmet, read
from adapter.exports.results import has_result
from adapter.exports.spec import DatasetSpec, Specs, TermVariant, Variable, load_specs
from adapter.exports.study import StudyConfig
from adapter.exports.subjects import Participant, participant
from adapter.model.decision import Decision, Verdict
from adapter.model.facts import Event, Facts, Finding, Intervention


class Build(msgspec.Struct, frozen=True):
    """The datasets in memory, and what was kept back: counts by dataset or rule, and reason."""

    datasets: tuple[Dataset, ...]
    subjects: dict[str, str]
    withheld: dict[str, int]
    extensions: dict[str, tuple[str, ...]]


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
    """Write ``xpt/``, ``dataset-json/`` and ``manifest.json`` under ``target``, all or nothing.

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
    datasets, extensions = [], {}
    for spec in specs.datasets:
        rows: list[Row] = []
        for one in people:
            records = _records(spec, one, study, specs, pseudonyms, withheld)
            rows += _rows(spec, records)
        datasets.append(_dataset(spec, rows, specs))
        extensions.update(_extensions(spec, datasets[-1], specs))
    mapped = {concept for spec in specs.datasets for concept in spec.terms}
    for one in people:
        for finding in one.facts.findings:
            if finding.concept and finding.category != "questionnaire" and finding.concept not in mapped:
                withheld[f"findings NO_DOMAIN {finding.concept}"] += 1
    numbers = {one.facts.subjects[0].id: one.person.subjid for one in people}
    return Build(tuple(datasets), numbers, dict(sorted(withheld.items())), extensions)


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
    one: Participant,
    study: StudyConfig,
    specs: Specs,
    pseudonyms: Pseudonymiser,
    withheld: Counter[str],
) -> list[Record]:
    """One record per row of the dataset for one participant."""
    records = []
    for fact, term, treatment, order in _facts(spec, one, study, pseudonyms, withheld):
        record = Record(one.person, fact, term, study, specs.units, pseudonyms, treatment, order, {})
        if isinstance(fact, Finding) and not has_result(record):
            withheld[f"{spec.name} NO_RESULT"] += 1
            continue
        for variable in spec.variables:
            if variable.algorithm in ("constant", "copy", "map"):
                record.values[variable.name] = _plain(spec, record, variable)
        for variable in spec.variables:
            if variable.algorithm == "derive" and variable.source["derive"] in ROW_METHODS:
                method = ROW_METHODS[variable.source["derive"]][0]
                record.values[variable.name] = method(record, variable.parameters)
        topic = next((name for name in (f"{spec.name}TERM", f"{spec.name}TRT") if name in record.values), "")
        if topic and not record.values[topic]:
            withheld[f"{spec.name} NO_CODED_TERM"] += 1
            continue
        records.append(record)
    return _distinct(records) if spec.distinct else records


def _facts(
    spec: DatasetSpec,
    one: Participant,
    study: StudyConfig,
    pseudonyms: Pseudonymiser,
    withheld: Counter[str],
) -> Iterator[tuple[Fact, dict[str, str], str, str]]:
    """What the rows of a dataset are made from: fact, term, treatment, and the order of equal rows."""
    match spec.rows:
        case "subjects":
            yield one.person, {}, "", ""
        case "findings":
            yield from _findings(spec, one, pseudonyms, withheld)
        case "events":
            for event in one.facts.events:
                reason = _history(event, one)
                if reason:
                    withheld[f"{spec.name} {reason}"] += 1
                elif reason is not None:
                    yield event, _term(spec, event), "", pseudonyms.source(event.source)
        case "interventions":
            for drug in one.other_drugs:
                if drug.use == "NEVER":
                    withheld[f"{spec.name} NEVER_USE"] += 1
                else:
                    yield drug, _term(spec, drug), "", pseudonyms.source(drug.source)
        case "exposures":
            for exposure in one.exposures:
                yield exposure, {}, "", "".join(exposure.sources)
        case "criteria":
            for unmet in _unmet(one, study):
                yield unmet, {}, "", unmet.id


def _findings(
    spec: DatasetSpec, one: Participant, pseudonyms: Pseudonymiser, withheld: Counter[str]
) -> Iterator[tuple[Fact, dict[str, str], str, str]]:
    for finding in one.facts.findings:
        if finding.concept not in spec.terms or finding.category == "questionnaire":
            continue
        treatment: str = spec.excluded.get(finding.excluded, "")
        term = _term(spec, finding)
        if finding.excluded and not treatment:
            withheld[f"{spec.name} {finding.excluded}"] += 1
        elif finding.use == "NEVER" or "CODE_UNVERIFIED" in finding.flags:
            withheld[f"{spec.name} CODE_UNVERIFIED"] += 1
        elif not term:
            withheld[f"{spec.name} NO_TERM"] += 1
        else:
            shown = "" if treatment == "as it is" else treatment
            yield finding, term, shown, pseudonyms.source(finding.source)


def _history(event: Event, one: Participant) -> str | None:
    """Whether an event is medical history: "" yes, a reason why not, None for another kind of event."""
    if event.category != "diagnosis":
        return None
    if event.excluded not in ("", "UNMAPPED") or event.use == "NEVER":
        return event.excluded or "NEVER_USE"
    if event.presence in ("unconfirmed", "refuted"):
        return event.presence.upper()
    began = event.start or event.recorded
    consent = one.person.consent_day or one.person.enrolment_day
    return "AFTER_CONSENT" if began and consent and began.first > consent else ""


def _term(spec: DatasetSpec, fact: Finding | Event | Intervention) -> dict[str, str]:
    return next((one.set for one in spec.terms.get(fact.concept, ()) if _fits(one, fact)), {})


def _fits(variant: TermVariant, fact: Finding | Event | Intervention) -> bool:
    for name, wanted in variant.when.items():
        value = getattr(fact, name)
        if value not in ([wanted] if isinstance(wanted, str) else wanted):
            return False
    return True


def _plain(spec: DatasetSpec, record: Record, variable: Variable) -> Cell:
    source: dict[str, Any] = variable.source
    if variable.algorithm == "constant":
        constant: Cell = source["constant"]
        return constant
    if variable.algorithm == "copy":
        return read(record, source["copy"])
    value = read(record, source["map"])
    if value is None:
        return read(record, source["else"]) if "else" in source else None
    return spec.tables[source["table"]].get(str(value))


def _distinct(records: list[Record]) -> list[Record]:
    seen: dict[tuple[tuple[str, Cell], ...], Record] = {}
    for record in sorted(records, key=lambda one: one.order):
        seen.setdefault(tuple(record.values.items()), record)
    return list(seen.values())


def _rows(spec: DatasetSpec, records: list[Record]) -> list[Row]:
    for variable in spec.variables:
        if variable.algorithm == "sequence":
            number_rows(records, {"by": variable.source["sequence"]}, variable.name)
    for variable in spec.variables:
        if variable.algorithm == "derive" and variable.source["derive"] in GROUP_METHODS:
            method = GROUP_METHODS[variable.source["derive"]][0]
            method(records, variable.parameters, variable.name)
    return [tuple(record.values.get(one.name) for one in spec.variables) for record in records]


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
    """Values outside the embedded terms of an extensible codelist, for the manifest and the reviewer."""
    found = {}
    for index, variable in enumerate(spec.variables):
        known = {term for name in variable.codelist for term in specs.codelists.codelists[name].terms}
        extra = {str(row[index]) for row in dataset.rows if row[index]} - known if known else set()
        if extra:
            found[f"{spec.name}.{variable.name}"] = tuple(sorted(extra))
    return found


def _unmet(one: Participant, study: StudyConfig) -> Iterator[Unmet]:
    """Inclusion criteria not met and exclusion criteria met; what is unknown is neither."""
    if one.decision is None:
        return
    results = {found.id: found for top in one.decision.criteria for found in top.walk()}
    for criterion in study.criteria:
        result = results.get(criterion.id)
        wanted = Verdict.NOT_MET if criterion.category == "INCLUSION" else Verdict.MET
        if result is not None and result.verdict is wanted:
            answer = "N" if criterion.category == "INCLUSION" else "Y"
            on = one.decision.as_of.isoformat()
            yield Unmet(criterion.id, folded(criterion.text), criterion.category, answer, on)
