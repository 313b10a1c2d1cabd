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

from adapter.exports.consent import standing
from adapter.exports.dataset import Dataset, Row, check
from adapter.exports.documents import sdtm_documents
from adapter.exports.lineage import sources_csv
from adapter.exports.lines import Lines
from adapter.exports.origin import Origin
from adapter.exports.package import ExportReport, write_package
from adapter.exports.profile import Profile, told
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.record import Person
from adapter.exports.sequence import NO_NUMBERS, SequenceLog
from adapter.exports.spec import DatasetSpec, Specs, load_specs
from adapter.exports.study import StudyConfig
from adapter.exports.subjects import Participant, participant
from adapter.exports.waivers import gate, load_waivers, stop_at
from adapter.model.decision import Decision
from adapter.model.facts import Facts
from adapter.model.monitoring import Monitoring

_NUMERIC = re.compile(r"[<>]?=?-?\d[\d.:-]*")


class Build(msgspec.Struct, frozen=True):
    """The datasets in memory, and what was kept back: counts by dataset or rule, and reason.

    ``subjects`` is Patient.id -> SUBJID; ``origins`` tell which record each numbered row was made from;
    ``sequences`` is the log of --SEQ with what was given now.
    """

    datasets: tuple[Dataset, ...]
    subjects: dict[str, str]
    withheld: dict[str, int]
    extensions: dict[str, tuple[str, ...]]
    people: tuple[Person, ...] = ()
    origins: tuple[Origin, ...] = ()
    sequences: SequenceLog = SequenceLog()


def export_sdtm(
    facts: Facts,
    decisions: Sequence[Decision],
    *,
    study: StudyConfig,
    specs: Path,
    target: Path,
    key: bytes,
    snapshot_time: datetime,
    followed: Sequence[Monitoring] = (),
    sequences: SequenceLog = NO_NUMBERS,
) -> ExportReport:
    """Write the datasets in every format, Define-XML and the manifest under ``target``, all or nothing.

    ``followed`` says how those on the study respond (RS); ``sequences`` which --SEQ were given before. The
    same facts, decisions, study, specifications, key, time and log give the same bytes. Raises
    :class:`adapter.errors.MappingError` for a specification or a waiver, :class:`adapter.errors.ExportError`
    for data that cannot be carried unchanged or do not pass the gate, ``ValueError`` for a ``snapshot_time``
    without a zone.
    """
    if snapshot_time.tzinfo is None:
        raise ValueError("snapshot_time needs a zone")
    loaded = load_specs(specs)
    built = build_sdtm(
        facts,
        decisions,
        study=study,
        specs=loaded,
        key=key,
        snapshot_time=snapshot_time,
        followed=followed,
        sequences=sequences,
    )
    report = write_sdtm(
        built,
        decisions,
        study=study,
        specs=loaded,
        folder=specs,
        target=target,
        snapshot_time=snapshot_time,
        key=key,
    )
    return msgspec.structs.replace(report, sequences=built.sequences)


def write_sdtm(
    built: Build,
    decisions: Sequence[Decision],
    *,
    study: StudyConfig,
    specs: Specs,
    folder: Path,
    target: Path,
    snapshot_time: datetime,
    profile: Profile = "sponsor",
    key: bytes = b"",
) -> ExportReport:
    """Pass the gate, then write what :func:`build_sdtm` made; ``folder`` is that of the specifications.

    With the ``key`` the keyed names of the sources go along; not for research, whose subjects are renamed.
    """
    checked = gate(built.datasets, specs, load_waivers(folder / "waivers.yaml", specs))
    stop_at(checked)
    protocols = sorted({f"{one.protocol} {one.protocol_version}" for one in decisions})
    documents = sdtm_documents(study, specs, folder, built.datasets, snapshot_time)
    if key and profile == "sponsor":
        pseudonyms = Pseudonymiser(study.study_id, study.site_id, key)
        documents["sources.csv"] = sources_csv(built.origins, pseudonyms)
    report = write_package(
        target,
        built.datasets,
        study_id=study.study_id,
        site_id=study.site_id,
        snapshot_time=snapshot_time,
        standards={"SDTMIG": "3.4", "SDTM CT": specs.codelists.package},
        versions={"specifications": specs.digest, "protocol": "; ".join(protocols), **study.versions},
        subjects=built.subjects,
        withheld=built.withheld,
        extensions=built.extensions,
        checks=checked.as_checks(),
        documents=documents,
        profile=told(profile),
    )
    return msgspec.structs.replace(report, origins=built.origins)


def build_sdtm(
    facts: Facts,
    decisions: Sequence[Decision],
    *,
    study: StudyConfig,
    specs: Specs,
    key: bytes,
    snapshot_time: datetime,
    followed: Sequence[Monitoring] = (),
    sequences: SequenceLog = NO_NUMBERS,
) -> Build:
    """The datasets of every specification; see :func:`export_sdtm` for what is raised."""
    pseudonyms = Pseudonymiser(study.study_id, study.site_id, key)
    withheld: Counter[str] = Counter()
    people = _participants(facts, decisions, study, pseudonyms, snapshot_time, withheld)
    responses = {one.subject: one.visits for one in followed}
    people = [
        msgspec.structs.replace(one, responses=responses.get(one.facts.subjects[0].id, ())) for one in people
    ]
    lines = Lines(study, specs, pseudonyms, sequences, withheld)
    people = [lines.scheduled(one) for one in people]
    made = {spec.name: lines.rows(spec, people) for spec in sorted(specs.datasets, key=_turn)}
    datasets, extensions = [], {}
    for spec in specs.datasets:
        datasets.append(_dataset(spec, made[spec.name]))
        extensions.update(_extensions(spec, datasets[-1], specs))
    mapped = {concept for spec in specs.datasets for concept in spec.terms}
    for one in people:
        for finding in one.facts.findings:
            if finding.concept and finding.category != "questionnaire" and finding.concept not in mapped:
                withheld[f"findings NO_DOMAIN {finding.concept}"] += 1
    numbers = {one.facts.subjects[0].id: one.person.subjid for one in people}
    known = tuple(one.person for one in people)
    return Build(
        tuple(datasets),
        numbers,
        dict(sorted(withheld.items())),
        extensions,
        known,
        tuple(lines.origins),
        SequenceLog(lines.given),
    )


def _turn(spec: DatasetSpec) -> int:
    """Visits are read off the rows of the other datasets, and relations need everybody's numbers."""
    return 1 if spec.rows == "subject visits" else 2 if spec.rows in ("relations", "qualifiers") else 0


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


def _dataset(spec: DatasetSpec, rows: Sequence[Row]) -> Dataset:
    dataset = Dataset(spec.name, spec.label, spec.columns, rows)
    check(dataset)
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
