"""From a cell back to the hospital: which resource, which version, what it said, what was done to it.

A trace is kept for every source of every row, beside the snapshots and never in one: it names FHIR ids and
the source's own text. How a variable is made is read from the Define-XML of the snapshot itself, so that
what is told is what ran then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapter.errors import NotFound
from adapter.exports.dataset import Dataset
from adapter.exports.dataset_json import read_dataset_json
from adapter.exports.exact import exact_text
from adapter.exports.origin import Origin
from adapter.exports.own_xml import read_xml
from adapter.exports.profile import RESEARCH
from adapter.exports.pseudonym import Pseudonymiser
from adapter.model import wire
from adapter.model.facts import Coding, Event, Facts, Finding, Intervention, Source

_PREDECESSOR = re.compile(r"([A-Z0-9]+)\.([A-Z0-9]+)\.?")
DEF = "http://www.cdisc.org/ns/def/v2.1"
_NAMES = {"o": "http://www.cdisc.org/ns/odm/v1.3", "d": DEF}
Fact = Finding | Event | Intervention


class Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """One source of one row. ``number`` is --SEQ, 0 in a dataset that has none (DM).

    ``token`` is what the package calls the source. ``original`` is the source's own text, ``value`` the exact
    number or answer it was mapped to in ``unit``, ``conversion`` how; ``inputs`` are the sources of a
    computed value.
    """

    dataset: str
    usubjid: str
    number: int
    source: Source
    token: str
    concept: str = ""
    code: Coding = Coding()
    original: str = ""
    original_unit: str = ""
    value: str = ""
    unit: str = ""
    conversion: str = ""
    method: str = ""
    start: str = ""
    end: str = ""
    inputs: tuple[Source, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """One thing that was done, and what there was after it."""

    what: str
    result: str


class CellLineage(msgspec.Struct, frozen=True):
    """One cell: its value, how the variable is made, and the way from each source.

    ``through`` is the cell it was made of: of SDTM by SRCDOM, SRCVAR and SRCSEQ, or its predecessor.
    """

    snapshot: str
    dataset: str
    usubjid: str
    number: int
    variable: str
    label: str
    value: str
    origin: str
    method: str
    traces: tuple[Trace, ...]
    through: CellLineage | None = None

    def steps(self, trace: Trace) -> Iterator[Step]:
        """From the resource to the cell, in order."""
        said = " ".join(part for part in (trace.original, trace.original_unit) if part)
        if said:
            yield Step("the source said", said)
        if trace.code.code:
            yield Step("coded as", f"{trace.code.system}|{trace.code.code}")
        if trace.concept:
            yield Step("mapped to", trace.concept)
        if trace.value:
            yield Step(trace.conversion or "read as", f"{trace.value} {trace.unit}".strip())
        if trace.start or trace.end:
            yield Step("dated", " to ".join(part for part in (trace.start, trace.end) if part))
        yield Step(self.method or self.origin, self.value or "(empty)")


def traces_of(
    origins: Iterable[Origin], facts: Facts, subjects: Mapping[str, str], pseudonyms: Pseudonymiser
) -> tuple[Trace, ...]:
    """Every source of every numbered row, and of every subject's row in DM, in order.

    ``subjects`` is Patient.id -> SUBJID of those who are exported.
    """
    known: dict[tuple[str, str], list[Fact]] = {}
    every: list[Fact] = [*facts.findings, *facts.events, *facts.interventions]
    for fact in every:
        if fact.subject in subjects:
            known.setdefault((fact.source.reference, fact.source.path), []).append(fact)
    found = {_trace(one, one.fact or _fact(known, one), pseudonyms) for one in origins}
    for subject in facts.subjects:
        if subject.id not in subjects:
            continue
        usubjid = pseudonyms.usubjid(subjects[subject.id])
        sources = [subject.source] + [
            event.source
            for event in facts.events
            if event.subject == subject.id and event.category in ("consent", "research-subject")
        ]
        for source in sources:
            found.add(_trace(Origin("DM", usubjid, 0, "", source), None, pseudonyms))
    return tuple(sorted(found, key=lambda one: (one.dataset, one.usubjid, one.number, one.source)))


def renamed(
    traces: Iterable[Trace], names: Mapping[str, str], pseudonyms: Pseudonymiser
) -> tuple[Trace, ...]:
    """The traces as of a package whose subjects have other names (USUBJID to USUBJID) and tokens."""
    return tuple(
        msgspec.structs.replace(
            one, usubjid=names[one.usubjid], token=pseudonyms.token(RESEARCH, one.token) if one.token else ""
        )
        for one in traces
    )


def sources_csv(origins: Iterable[Origin], pseudonyms: Pseudonymiser) -> bytes:
    """What of this leaves the site: for each numbered row the keyed names of its sources."""
    lines = sorted(
        {(one.dataset, one.usubjid, one.number, _token(one.source, pseudonyms)) for one in origins}
    )
    text = "".join(f"{dataset},{usubjid},{number},{token}\r\n" for dataset, usubjid, number, token in lines)
    return f"DATASET,USUBJID,SEQ,SOURCE\r\n{text}".encode("ascii")


def write_traces(traces: Iterable[Trace], path: Path) -> None:
    """Leave them at ``path``, readable by the owner alone, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft-{os.getpid()}")
    draft.touch(mode=0o600)
    wire.write_rows(draft, traces)
    draft.replace(path)


def read_traces(path: Path) -> tuple[Trace, ...]:
    """What :func:`write_traces` left; raises :class:`NotFound` where there is none."""
    try:
        return tuple(wire.read_rows(path, Trace))
    except FileNotFoundError as fault:
        raise NotFound(
            "no lineage of this snapshot",
            where=str(path),
            fix="it is kept at the site that made the snapshot",
        ) from fault


def cell_lineage(
    snapshot: Path, traces: Iterable[Trace], dataset: str, usubjid: str, number: int, variable: str
) -> CellLineage:
    """Where one cell comes from. ``number`` is --SEQ or ASEQ, 0 where the dataset has none.

    Raises :class:`NotFound` for a dataset, row or variable that is not in the snapshot.
    """
    known = [one for one in traces if one.usubjid == usubjid]
    package = next(
        (one for one in (snapshot, *_parts(snapshot)) if _dataset_json(one, dataset).exists()), None
    )
    if package is None:
        raise NotFound(f"no dataset {dataset}", where=str(snapshot.name))
    rows = read_dataset_json(_dataset_json(package, dataset))
    row = _row(rows, usubjid, number)
    if variable not in row:
        names = ", ".join(row)
        raise NotFound(f"{dataset} has no variable {variable}", where=snapshot.name, fix=f"one of {names}")
    origin, method = made_how(package / "define.xml", dataset, variable)
    label = next(one.label for one in rows.columns if one.name == variable)
    own = [one for one in known if (one.dataset, one.number) == (dataset, number)]
    before = _before(row, origin, method)
    through = cell_lineage(snapshot, known, before[0], usubjid, before[1], before[2]) if before else None
    return CellLineage(
        snapshot.name,
        dataset,
        usubjid,
        number,
        variable,
        label,
        row[variable],
        origin,
        method,
        tuple(own),
        through,
    )


def _parts(snapshot: Path) -> list[Path]:
    """The packages within a snapshot: those made of it."""
    return sorted(path.parent for path in snapshot.glob("*/manifest.json"))


def _dataset_json(package: Path, dataset: str) -> Path:
    return package / "dataset-json" / f"{dataset.lower()}.json"


def _before(row: Mapping[str, str], origin: str, method: str) -> tuple[str, int, str] | None:
    """Dataset, number and variable of the cell that an analysis cell was made of, if one is named."""
    if origin == "Predecessor" and (named := _PREDECESSOR.fullmatch(method)):
        return named[1], 0, named[2]
    if row.get("SRCDOM") and row.get("SRCSEQ"):
        return row["SRCDOM"], int(row["SRCSEQ"]), row["SRCVAR"]
    return None


def _row(rows: Dataset, usubjid: str, number: int) -> dict[str, str]:
    for row in rows.records():
        if row.get("USUBJID") == usubjid and (row.get(f"{rows.name}SEQ") or row.get("ASEQ") or 0) == number:
            return {name: exact_text(cell) for name, cell in row.items()}
    raise NotFound(
        f"{rows.name} has no row {number} of {usubjid}",
        fix="the number is --SEQ, in analysis datasets ASEQ; 0 for a dataset without",
    )


def made_how(define: Path, dataset: str, variable: str) -> tuple[str, str]:
    """Origin and method, comment or predecessor of a variable as a Define-XML 2.1 file tells them.

    By the references of the file, whatever its OIDs are called. ("", "") for a variable it does not know.
    """
    root = read_xml(define.read_bytes(), define.name)

    def found(path: str, **names: str) -> list[Any]:
        return list(root.xpath(path, namespaces=_NAMES, **names))

    def text(path: str, oid: str) -> str:
        return " ".join(" ".join("".join(one.itertext()).split()) for one in found(path, oid=oid))

    items = {one.get("OID"): one for one in found("//o:ItemDef[@Name=$name]", name=variable)}
    references = found("//o:ItemGroupDef[@Name=$name]/o:ItemRef", name=dataset)
    for reference in (one for one in references if one.get("ItemOID") in items):
        oid = reference.get("ItemOID")
        method = text("//o:MethodDef[@OID=$oid]/o:Description", reference.get("MethodOID", ""))
        comment = text("//d:CommentDef[@OID=$oid]/o:Description", items[oid].get(f"{{{DEF}}}CommentOID", ""))
        before = text("//o:ItemDef[@OID=$oid]/d:Origin/o:Description", oid)
        origins = found("//o:ItemDef[@OID=$oid]/d:Origin/@Type", oid=oid)
        return "".join(origins), method or comment or before
    return "", ""


def _fact(known: Mapping[tuple[str, str], list[Fact]], origin: Origin) -> Fact | None:
    found = known.get((origin.source.reference, origin.source.path), [])
    return next((one for one in found if one.concept == origin.concept), found[0] if found else None)


def _trace(origin: Origin, fact: Fact | None, pseudonyms: Pseudonymiser) -> Trace:
    source = fact.source if fact else origin.source
    trace = Trace(
        origin.dataset, origin.usubjid, origin.number, source, _token(source, pseudonyms), origin.concept
    )
    if fact is None:
        return trace
    trace = msgspec.structs.replace(
        trace,
        concept=fact.concept,
        code=fact.code,
        start=fact.start.iso if fact.start else "",
        end=fact.end.iso if fact.end else "",
    )
    if not isinstance(fact, Finding):
        return trace
    return msgspec.structs.replace(
        trace,
        original=fact.original,
        original_unit=fact.original_unit,
        value=str(fact.value) if fact.value else fact.answer or fact.value_code,
        unit=fact.unit,
        conversion=fact.conversion,
        method=fact.method,
        inputs=fact.derived_from,
    )


def _token(source: Source, pseudonyms: Pseudonymiser) -> str:
    return pseudonyms.source(source)[:16]
