"""--SEQ that stays: a record keeps its number when other records come, go or are corrected.

A record is known by a keyed hash of where it comes from (resource and element, not its version or values),
so a corrected result keeps its number. New records get numbers above the highest ever given to the subject
in that dataset, in the order the specification asks for; the number of a record that went is never given
again. The log stays on the site beside the enrolment log and holds no FHIR id. Without a log, numbers are
1..n in that order. Source: SDTMIG 3.4, section 4.1.4 (--SEQ is unique within a subject and dataset).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from adapter.errors import ConfigError
from adapter.exports.dataset import sort_key
from adapter.exports.record import Record

Given = dict[str, int]
"""Numbers of one subject in one dataset, by keyed hash of the record."""


class SequenceLog(msgspec.Struct, frozen=True):
    """Numbers given so far: dataset -> USUBJID -> record -> number."""

    known: Mapping[str, Mapping[str, Mapping[str, int]]] = {}

    @classmethod
    def load(cls, path: Path) -> SequenceLog:
        """A file that does not exist is an empty log; raises :class:`ConfigError` for one that is no log."""
        if not path.exists():
            return cls()
        try:
            known = msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, dict[str, int]]])
        except msgspec.MsgspecError as fault:
            raise ConfigError(
                "the log of sequence numbers cannot be read",
                where=str(path),
                fix="restore it from a backup; without it records get new numbers",
            ) from fault
        for dataset, subjects in known.items():
            for usubjid, given in subjects.items():
                if len(set(given.values())) != len(given) or min(given.values(), default=1) < 1:
                    raise ConfigError(
                        f"a sequence number of {usubjid} in {dataset} is given twice or below 1",
                        where=str(path),
                    )
        return cls(known)

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
        draft.write_text(json.dumps(self.known, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(path)

    def of(self, dataset: str, usubjid: str) -> Given:
        """A copy to be added to by :func:`number_rows`."""
        return dict(self.known.get(dataset, {}).get(usubjid, {}))


NO_NUMBERS = SequenceLog()


def number_rows(rows: Sequence[Record], by: Sequence[str], variable: str, given: Given) -> None:
    """Fill ``variable`` of every row and add what is new to ``given``."""
    ordered = sorted(rows, key=lambda row: (*(sort_key(row.values.get(name)) for name in by), row.order))
    met: Counter[str] = Counter()
    following = max(given.values(), default=0)
    for row in ordered:
        name = key_of(row)
        met[name] += 1
        if met[name] > 1:
            name = f"{name}.{met[name]}"
        if name not in given:
            following += 1
            given[name] = following
        row.values[variable] = given[name]


def key_of(row: Record) -> str:
    """The record's name in the log: two facts of one resource differ in their concept."""
    concept = getattr(row.fact, "concept", "")
    return row.pseudonyms.token("row", f"{row.order}|{concept}")
