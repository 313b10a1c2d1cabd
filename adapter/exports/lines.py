"""The rows of one dataset after the other, and what a later dataset needs of an earlier one.

Visits (SV) are read off the days of the other datasets' rows, RELREC and SUPP-- off their numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from fractions import Fraction

import msgspec

from adapter.exports import journey
from adapter.exports.dataset import Row
from adapter.exports.derive import day_of
from adapter.exports.origin import Origin, origins_of
from adapter.exports.participation import Qualifier
from adapter.exports.pseudonym import Pseudonymiser
from adapter.exports.record import NOBODY, Record
from adapter.exports.relations import relations
from adapter.exports.results import has_result
from adapter.exports.rows import Recipe, fill, finish, recipe, supplements
from adapter.exports.runs import SortedRows
from adapter.exports.selection import Selected, select
from adapter.exports.sequence import Given, SequenceLog
from adapter.exports.spec import DatasetSpec, Specs
from adapter.exports.study import StudyConfig
from adapter.exports.subjects import Participant
from adapter.exports.trial_design import DESIGN_KINDS, DesignKind, design_rows
from adapter.model.facts import Finding

_DATED = {"PR": "PRSTDTC", "MI": "MIDTC"}


class Lines:
    """Makes the rows; ``origins`` and ``given`` (numbers by dataset and subject) grow with every dataset."""

    def __init__(
        self,
        study: StudyConfig,
        specs: Specs,
        pseudonyms: Pseudonymiser,
        sequences: SequenceLog,
        withheld: Counter[str],
    ) -> None:
        self.origins: list[Origin] = []
        self.given: dict[str, dict[str, Given]] = {
            dataset: {usubjid: dict(numbers) for usubjid, numbers in subjects.items()}
            for dataset, subjects in sequences.known.items()
        }
        self._study, self._specs, self._pseudonyms = study, specs, pseudonyms
        self._withheld = withheld
        self._attended: dict[str, dict[int | Fraction, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._qualifiers: dict[tuple[str, str], list[Qualifier]] = defaultdict(list)
        self._days: dict[tuple[str, str, int], str] = {}
        self._dated = [
            (spec, str(one.parameters["of"]))
            for spec in specs.datasets
            for one in spec.variables
            if one.source.get("derive") == "visit" and one.parameters["give"] == "number"
        ]

    def scheduled(self, one: Participant) -> Participant:
        """The same with their unscheduled visits, which all datasets with visits have to agree on."""
        if one.person.reference_day is None:
            return one
        days: set[date] = set()
        for spec, at in self._dated:
            selected = select(spec, one, self._study, self._pseudonyms, Counter())
            for record in self._records(spec, recipe(spec), one, selected, Counter()):
                moment = record.values.get(at)
                if isinstance(moment, str) and (day := day_of(moment)) is not None:
                    days.add(day)
        found = journey.unscheduled(days, one.person, self._study.visits)
        return msgspec.structs.replace(
            one, person=msgspec.structs.replace(one.person, unscheduled=found) if found else one.person
        )

    def rows(self, spec: DatasetSpec, people: Sequence[Participant]) -> Sequence[Row]:
        """All rows of a dataset, in order; raises :class:`adapter.errors.ExportError`."""
        made, rows = recipe(spec), SortedRows(spec.columns)
        if spec.rows in DESIGN_KINDS:
            rows.add(finish(made, self._design_records(spec.rows, made)))
            return rows.finished()
        related = relations(self.origins, self._days) if spec.rows == "relations" else {}
        for one in people:
            usubjid = one.person.usubjid
            if spec.rows == "relations":
                selected = iter([Selected(fact) for fact in related.get(usubjid, ())])
            elif spec.rows == "qualifiers":
                selected = iter([Selected(fact) for fact in self._qualifiers[(spec.parent, usubjid)]])
            elif spec.rows == "subject visits":
                visits = journey.visits(one, self._study, self._attended[usubjid])
                selected = iter([Selected(fact) for fact in visits])
            else:
                selected = select(spec, one, self._study, self._pseudonyms, self._withheld)
            records = list(self._records(spec, made, one, selected, self._withheld))
            rows.add(finish(made, records, self._numbers(spec, made, usubjid)))
            self._remember(spec, records)
        return rows.finished()

    def _numbers(self, spec: DatasetSpec, made: Recipe, usubjid: str) -> Given:
        return self.given.setdefault(spec.name, {}).setdefault(usubjid, {}) if made.numbered else {}

    def _remember(self, spec: DatasetSpec, records: Sequence[Record]) -> None:
        self.origins += origins_of(spec.name, records)
        number = f"{spec.name}SEQ"
        for record in records:
            usubjid, visit = record.person.usubjid, record.values.get("VISITNUM")
            at = record.values.get(f"{spec.name}DTC") or record.values.get(f"{spec.name}STDTC")
            if isinstance(visit, int | Fraction) and isinstance(at, str):
                self._attended[usubjid][visit].append(at)
            sequence = record.values.get(number)
            if not isinstance(sequence, int):
                continue
            self._qualifiers[(spec.name, usubjid)] += supplements(spec, record)
            day = record.values.get(_DATED.get(spec.name, ""))
            if isinstance(day, str) and len(day) >= 10:
                self._days[(spec.name, usubjid, sequence)] = day[:10]

    def _records(
        self,
        spec: DatasetSpec,
        made: Recipe,
        one: Participant,
        selected: Iterator[Selected],
        withheld: Counter[str],
    ) -> Iterator[Record]:
        """One record per row of the dataset for one participant; a row needs a result or a coded topic."""
        study, units, pseudonyms = self._study, self._specs.units, self._pseudonyms
        for fact, term, treatment, order in selected:
            record = Record(one.person, fact, term, study, units, pseudonyms, treatment, order, {})
            if isinstance(fact, Finding) and not has_result(record):
                withheld[f"{spec.name} NO_RESULT"] += 1
                continue
            fill(made, record)
            topics = (f"{spec.name}TERM", f"{spec.name}TRT")
            topic = next((name for name in topics if name in record.values), "")
            if topic and not record.values[topic]:
                withheld[f"{spec.name} NO_CODED_TERM"] += 1
                continue
            yield record

    def _design_records(self, kind: DesignKind, made: Recipe) -> list[Record]:
        """One record per row that the protocol itself plans."""
        study, units = self._study, self._specs.units
        return [
            fill(made, Record(NOBODY, fact, {}, study, units, self._pseudonyms, "", f"{number:04}", {}))
            for number, fact in enumerate(design_rows(kind, study))
        ]
