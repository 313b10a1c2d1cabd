"""ODM 1.3.2 snapshot: the same rows as clinical data, subject by subject and visit by visit.

A planned visit is a StudyEvent; all unscheduled ones are repeats of another, by their VISITNUM; what belongs
to none is under COMMON. A dataset is a form with one item
group, a row one repeat of it; what speaks of the study rather than of subjects is reference data. Values are
exact text; what is missing is not there. Source: CDISC, *Operational Data Model 1.3.2*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from heapq import merge
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from lxml import etree

from adapter import __version__
from adapter.exports.dataset import Dataset
from adapter.exports.define import ODM, Study
from adapter.exports.exact import exact_text
from adapter.exports.value_level import shapes_of

_COMMON, _UNSCHEDULED = "SE.COMMON", "SE.UNSCHEDULED"
_Visits = dict[str, str]
_Event = tuple[str, str]  # StudyEventDef, repeat key
_Group = tuple[str, int, list[tuple[str, str]]]  # dataset, repeat, (item, value)


def write_odm(path: Path, study: Study, datasets: Sequence[Dataset]) -> None:
    """Write the file; the datasets in the order given. Visits are named by TV."""
    visits = _planned(datasets)
    version = f"MDV.{study.study_id}.ODM"
    head = {
        "ODMVersion": "1.3.2",
        "FileType": "Snapshot",
        "Granularity": "AllClinicalData",
        "FileOID": f"{study.study_id}.odm",
        "CreationDateTime": study.created.isoformat(timespec="seconds"),
        "AsOfDateTime": study.created.isoformat(timespec="seconds"),
        "Originator": study.originator,
        "SourceSystem": "trial-fhir-adapter",
        "SourceSystemVersion": __version__,
    }
    of_study = {"StudyOID": f"STDY.{study.study_id}", "MetaDataVersionOID": version}
    with etree.xmlfile(str(path), encoding="UTF-8") as out:
        out.write_declaration()
        with out.element(f"{{{ODM}}}ODM", head, nsmap={None: ODM}):
            out.write(_study(study, version, datasets, visits))
            out.write("\n")
            if reference := [one for one in datasets if not _has(one, "USUBJID")]:
                with out.element(f"{{{ODM}}}ReferenceData", of_study):
                    for one in reference:
                        for group in _groups(one):
                            out.write(_group_data(group[2]))
            with out.element(f"{{{ODM}}}ClinicalData", of_study):
                for subject in _subjects(datasets, visits):
                    out.write("\n")
                    out.write(subject)


def _planned(datasets: Sequence[Dataset]) -> _Visits:
    """VISITNUM to name, as planned."""
    rows = next((one.records() for one in datasets if one.name == "TV"), [])
    return {exact_text(row["VISITNUM"]): exact_text(row["VISIT"]) for row in rows}


def _study(study: Study, version: str, datasets: Sequence[Dataset], visits: _Visits) -> Any:
    whole = etree.Element(f"{{{ODM}}}Study", {"OID": f"STDY.{study.study_id}"}, nsmap={None: ODM})
    names = _add(whole, "GlobalVariables")
    _add(names, "StudyName").text = study.study_id
    _add(names, "StudyDescription").text = study.title
    _add(names, "ProtocolName").text = study.study_id
    metadata = _add(whole, "MetaDataVersion", OID=version, Name=f"{study.study_id} as exported")
    events = {_COMMON: "Common", **{f"SE.{number}": name for number, name in visits.items()}}
    events[_UNSCHEDULED] = "Unscheduled"
    protocol = _add(metadata, "Protocol")
    for number, oid in enumerate(events, start=1):
        _add(protocol, "StudyEventRef", StudyEventOID=oid, OrderNumber=str(number), Mandatory="No")
    clinical = [one for one in datasets if _has(one, "USUBJID")]
    for oid, name in events.items():
        kind = name if oid in (_COMMON, _UNSCHEDULED) else "Scheduled"
        repeating = "Yes" if oid == _UNSCHEDULED else "No"
        event = _add(metadata, "StudyEventDef", OID=oid, Name=name, Repeating=repeating, Type=kind)
        for one in clinical:
            if oid == _COMMON or _has(one, "VISITNUM"):
                _add(event, "FormRef", FormOID=f"F.{one.name}", Mandatory="No")
    for one in clinical:
        form = _add(metadata, "FormDef", OID=f"F.{one.name}", Name=one.label, Repeating="No")
        _add(form, "ItemGroupRef", ItemGroupOID=f"IG.{one.name}", Mandatory="No")
    for one in datasets:
        reference = "No" if _has(one, "USUBJID") else "Yes"
        group = _add(
            metadata, "ItemGroupDef", OID=f"IG.{one.name}", Name=one.name, Repeating="Yes",
            IsReferenceData=reference, SASDatasetName=one.name, Domain=one.domain,
        )  # fmt: skip
        for column in one.columns:
            _add(group, "ItemRef", ItemOID=f"IT.{one.name}.{column.name}", Mandatory="No")
    for one in datasets:
        _items(metadata, one)
    return whole


def _items(metadata: Any, one: Dataset) -> None:
    for column, shape in zip(one.columns, shapes_of(one), strict=True):
        item = _add(
            metadata, "ItemDef", OID=f"IT.{one.name}.{column.name}", Name=column.name, DataType=shape.type,
            SASFieldName=column.name,
        )  # fmt: skip
        if shape.length is not None:
            item.set("Length", str(shape.length))
        if shape.decimals is not None:
            item.set("SignificantDigits", str(shape.decimals))
        text = _add(_add(item, "Description"), "TranslatedText")
        text.set("{http://www.w3.org/XML/1998/namespace}lang", "en")
        text.text = column.label


def _subjects(datasets: Sequence[Dataset], visits: _Visits) -> Iterator[Any]:
    """One SubjectData a subject; the rows of one subject are what is held at a time."""
    clinical = [one for one in datasets if _has(one, "USUBJID")]
    rows = merge(*(_by_subject(one, number) for number, one in enumerate(clinical)), key=itemgetter(0))
    order: list[_Event] = [(_COMMON, ""), *((f"SE.{number}", "") for number in visits)]
    for usubjid, own in groupby(rows, key=lambda one: one[0][0]):
        events: dict[_Event, list[_Group]] = {}
        for _, visit, group in own:
            events.setdefault(_event_of(visit, visits), []).append(group)
        subject = etree.Element(f"{{{ODM}}}SubjectData", {"SubjectKey": usubjid}, nsmap={None: ODM})
        unscheduled = sorted((one for one in events if one[1]), key=lambda one: Fraction(one[1]))
        for event in (*order, *unscheduled):
            if event in events:
                _event(subject, event, events[event])
        yield subject


def _by_subject(one: Dataset, number: int) -> Iterator[tuple[tuple[str, int], str, _Group]]:
    """((USUBJID, ``number``), VISITNUM, row), by subject; a dataset in another order (RELREC) is sorted."""
    place = next(index for index, column in enumerate(one.columns) if column.name == "USUBJID")
    rows = (((usubjid, number), visit, group) for usubjid, visit, group in _groups(one))
    if all(former <= latter for former, latter in pairwise(str(row[place]) for row in one.rows)):
        return rows
    return iter(sorted(rows, key=itemgetter(0)))


def _event_of(visit: str, visits: _Visits) -> _Event:
    if visit in visits:
        return f"SE.{visit}", ""
    return (_UNSCHEDULED, visit) if visit else (_COMMON, "")


def _event(subject: Any, event: _Event, groups: Iterable[_Group]) -> None:
    made = _add(subject, "StudyEventData", StudyEventOID=event[0])
    if event[1]:
        made.set("StudyEventRepeatKey", event[1])
    forms: dict[str, Any] = {}
    for group in groups:
        name = group[0]
        if name not in forms:
            forms[name] = _add(made, "FormData", FormOID=f"F.{name}")
        forms[name].append(_group_data(group))


def _groups(one: Dataset) -> Iterator[tuple[str, str, _Group]]:
    """(USUBJID, VISITNUM, row) of every row, "" where there is none; repeats count from 1 a subject."""
    names = [column.name for column in one.columns]
    counts: dict[str, int] = {}
    for row in one.rows:
        cells = [(name, text) for name, cell in zip(names, row, strict=True) if (text := exact_text(cell))]
        told = dict(cells)
        usubjid = told.get("USUBJID", "")
        counts[usubjid] = counts.get(usubjid, 0) + 1
        yield usubjid, told.get("VISITNUM", ""), (one.name, counts[usubjid], cells)


def _group_data(group: _Group) -> Any:
    name, repeat, cells = group
    made = etree.Element(
        f"{{{ODM}}}ItemGroupData",
        {"ItemGroupOID": f"IG.{name}", "ItemGroupRepeatKey": str(repeat)},
        nsmap={None: ODM},
    )
    for item, value in cells:
        _add(made, "ItemData", ItemOID=f"IT.{name}.{item}", Value=value)
    return made


def _has(one: Dataset, name: str) -> bool:
    return any(column.name == name for column in one.columns)


def _add(parent: Any, name: str, /, **attributes: str) -> Any:
    return etree.SubElement(parent, f"{{{ODM}}}{name}", attributes)
