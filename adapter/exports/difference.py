"""What differs between two snapshots, record by record, and which correction of a source did it.

Records are the same if --SEQ is, which a corrected result keeps; in a dataset without --SEQ, if the keys
are. A record of analysis is the same if it was made of the same record of SDTM, and its sources are that
one's; ASEQ counts anew each time. A record whose own sources changed is explained by them. One whose
sources stand (a study day after the first dose was corrected) is explained by the corrected sources of the
same subject, and else by the versions of rules or programs that differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from adapter.exports.dataset import Dataset
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.exact import exact_text
from adapter.exports.lineage import Trace
from adapter.exports.snapshots import Snapshot

Kind = Literal["added", "removed", "changed"]
_Key = tuple[str, ...]
_Place = tuple[str, str, int]


class Cause(msgspec.Struct, frozen=True, order=True):
    """A source that is not as it was: its versions and hashes then and now, "" where it was not there."""

    reference: str
    former_version: str = ""
    version: str = ""
    former_sha256: str = ""
    sha256: str = ""


class RecordChange(msgspec.Struct, frozen=True):
    """One record that differs. ``cells`` are (before, after) by variable, of changed records only.

    ``causes`` are its own sources that changed, ``through`` other sources of the subject; if both are
    empty no source changed.
    """

    dataset: str
    usubjid: str
    number: int
    key: str
    kind: Kind
    cells: dict[str, tuple[str, str]] = {}
    causes: tuple[Cause, ...] = ()
    through: tuple[Cause, ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """All records that differ, the subjects they belong to, and the versions that do."""

    former: str
    latter: str
    subjects: tuple[str, ...]
    records: tuple[RecordChange, ...]
    versions: dict[str, tuple[str, str]]


def difference(
    former: Snapshot, latter: Snapshot, traces: tuple[Iterable[Trace], Iterable[Trace]]
) -> Difference:
    """Compare two snapshots; ``traces`` are their lineages, empty outside the site."""
    before, after = (_by_place(one) for one in traces)
    causes = {place: _causes(before.get(place, {}), after.get(place, {})) for place in before.keys() | after}
    whole: dict[str, set[Cause]] = {}
    for (_, usubjid, _), found in causes.items():
        whole.setdefault(usubjid, set()).update(found)
    records: list[RecordChange] = []
    for name in sorted(former.rows.keys() | latter.rows):
        for one, made_of in _records(name, _rows(former, name), _rows(latter, name)):
            own = tuple(sorted({cause for place in made_of for cause in causes.get(place, ())}))
            through = () if own else tuple(sorted(whole.get(one.usubjid, ())))
            records.append(msgspec.structs.replace(one, causes=own, through=through))
    versions = {
        name: (former.versions.get(name, ""), latter.versions.get(name, ""))
        for name in sorted(former.versions.keys() | latter.versions)
        if former.versions.get(name) != latter.versions.get(name)
    }
    subjects = tuple(sorted({one.usubjid for one in records if one.usubjid}))
    return Difference(former.id, latter.id, subjects, tuple(records), versions)


def _by_place(traces: Iterable[Trace]) -> dict[_Place, dict[str, Trace]]:
    found: dict[_Place, dict[str, Trace]] = {}
    for one in traces:
        for source in (one.source, *one.inputs):
            own = msgspec.structs.replace(one, source=source)
            found.setdefault((one.dataset, one.usubjid, one.number), {})[source.reference] = own
    return found


def _causes(before: Mapping[str, Trace], after: Mapping[str, Trace]) -> tuple[Cause, ...]:
    found = []
    for reference in sorted(before.keys() | after.keys()):
        was, now = before.get(reference), after.get(reference)
        old, new = (was.source if was else None), (now.source if now else None)
        if old and new and (old.version, old.sha256) == (new.version, new.sha256):
            continue
        found.append(
            Cause(
                reference,
                old.version if old else "",
                new.version if new else "",
                old.sha256 if old else "",
                new.sha256 if new else "",
            )
        )
    return tuple(found)


def _rows(snapshot: Snapshot, name: str) -> Dataset | None:
    path = snapshot.paths.get(name)
    return read_dataset_json(snapshot.folder / path) if path else None


def _records(
    name: str, former: Dataset | None, latter: Dataset | None
) -> Iterator[tuple[RecordChange, tuple[_Place, ...]]]:
    """Each record that differs, and the numbered records of SDTM that it is, or was and is made of."""
    before, after = _keyed(former), _keyed(latter)
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old == new or _unnumbered(old) == _unnumbered(new):
            continue
        row = new or old or {}
        kind: Kind = "added" if old is None else "removed" if new is None else "changed"
        cells = {
            variable: ((old or {}).get(variable, ""), (new or {}).get(variable, ""))
            for variable in dict.fromkeys((*(old or {}), *(new or {})))
            if old and new and old.get(variable, "") != new.get(variable, "")
        }
        number = int(row.get(f"{name}SEQ") or row.get("ASEQ") or 0)
        change = RecordChange(name, row.get("USUBJID", ""), number, " ".join(filter(None, key)), kind, cells)
        yield change, tuple(_made_of(name, one) for one in (old, new) if one)


def _unnumbered(row: dict[str, str] | None) -> dict[str, str] | None:
    """Without ASEQ: it moves when another record comes or goes."""
    return {name: cell for name, cell in row.items() if name != "ASEQ"} if row else None


def _made_of(name: str, row: Mapping[str, str]) -> _Place:
    usubjid = row.get("USUBJID", "")
    if row.get("SRCDOM") and row.get("SRCSEQ"):
        return row["SRCDOM"], usubjid, int(row["SRCSEQ"])
    return name, usubjid, int(row.get(f"{name}SEQ") or 0)


def _keyed(dataset: Dataset | None) -> dict[_Key, dict[str, str]]:
    if dataset is None:
        return {}
    names = [column.name for column in dataset.columns]
    keys = [column.name for column in sorted(dataset.columns, key=lambda one: one.key) if column.key]
    if f"{dataset.name}SEQ" in names and "USUBJID" in names:
        keys = ["USUBJID", f"{dataset.name}SEQ"]
    found: dict[_Key, dict[str, str]] = {}
    met: Counter[_Key] = Counter()
    for record in dataset.each():
        row = {name: exact_text(cell) for name, cell in record.items()}
        of_source = "ASEQ" in keys and row.get("SRCSEQ") and not row.get("DTYPE")
        own = (
            ["USUBJID", "PARAMCD", "SRCDOM", "SRCSEQ"]
            if of_source
            else [one for one in keys if one != "ASEQ"]
        )
        key = tuple(row[name] for name in own)
        met[key] += 1
        found[key if met[key] == 1 else (*key, str(met[key]))] = row
    return found
