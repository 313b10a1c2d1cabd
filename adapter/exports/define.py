"""Define-XML 2.1: what the datasets hold, where each value comes from and how it was made.

Everything said here is taken from the specifications, the rows and the functions that made them; nothing is
written for this file alone. Source: CDISC, *Define-XML Specification v2.1*. The same input gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from lxml import etree

from adapter import __version__
from adapter.exports.described import Described, Item, Standard
from adapter.exports.methods import Method
from adapter.exports.own_xml import transformed
from adapter.exports.used_terms import UsedList, UsedLists, column_text, used_lists
from adapter.exports.value_level import Shape, ValueLevel, shapes_of, value_levels

ODM = "http://www.cdisc.org/ns/odm/v1.3"
DEF = "http://www.cdisc.org/ns/def/v2.1"
XLINK = "http://www.w3.org/1999/xlink"
XML = "http://www.w3.org/XML/1998/namespace"
STYLESHEET = "define2-1.xsl"
_VERSION = "2.1.7"
_NAMESPACES = {None: ODM, "def": DEF, "xlink": XLINK}


class Study(msgspec.Struct, frozen=True):
    """Whose metadata these are; ``created`` carries a zone and is the time of the snapshot, no clock's."""

    study_id: str
    title: str
    originator: str
    created: datetime
    context: str = "Submission"


def define_xml(study: Study, standard: Standard, datasets: Sequence[Described]) -> bytes:
    """The whole file, UTF-8; the datasets in the order given."""
    lists = used_lists(datasets, standard.terminology)
    levels = {one.dataset.name: value_levels(one.dataset) for one in datasets}
    root = etree.Element(f"{{{ODM}}}ODM", nsmap=_NAMESPACES)
    for name, value in {
        "ODMVersion": "1.3.2",
        "FileType": "Snapshot",
        "FileOID": f"{study.study_id}.{standard.guide}.define",
        "CreationDateTime": study.created.isoformat(timespec="seconds"),
        "Originator": study.originator,
        "SourceSystem": "trial-fhir-adapter",
        "SourceSystemVersion": __version__,
        f"{{{DEF}}}Context": study.context,
    }.items():
        root.set(name, value)
    whole = _add(root, "Study", OID=f"STDY.{study.study_id}")
    names = _add(whole, "GlobalVariables")
    _add(names, "StudyName").text = study.study_id
    _add(names, "StudyDescription").text = study.title
    _add(names, "ProtocolName").text = study.study_id
    metadata = _add(
        whole,
        "MetaDataVersion",
        OID=f"MDV.{study.study_id}.{standard.guide}.{standard.version}",
        Name=f"{study.study_id}, {standard.guide} {standard.version}",
        Description=f"Datasets of {study.study_id} made from the records of {study.originator}",
    )
    metadata.set(f"{{{DEF}}}DefineVersion", _VERSION)
    _standards(metadata, standard)
    _levels(metadata, levels)
    for one in datasets:
        _group(metadata, one, standard)
    for one in datasets:
        _items(metadata, one, lists, levels[one.dataset.name])
    for used in lists.lists:
        _codelist(metadata, used)
    _methods(metadata, datasets)
    _comments(metadata, datasets)
    return _bytes(root)


def stylesheet() -> bytes:
    """CDISC's stylesheet (Lex Jansen, MIT licence, as its head says), byte for byte."""
    return (Path(__file__).parent / "stylesheet" / STYLESHEET).read_bytes()


def define_html(define: bytes) -> bytes:
    """The page that the stylesheet makes of a Define-XML file: browsers no longer style local files."""
    return transformed(stylesheet(), define, "define.xml")


def _bytes(root: Any) -> bytes:
    tree = root.getroottree()
    root.addprevious(etree.ProcessingInstruction("xml-stylesheet", f'type="text/xsl" href="{STYLESHEET}"'))
    etree.indent(root, " ")
    return bytes(etree.tostring(tree, xml_declaration=True, encoding="UTF-8")) + b"\n"


def _standards(metadata: Any, standard: Standard) -> None:
    standards = _add(metadata, "Standards", DEF)
    _add(
        standards, "Standard", DEF, OID="STD.IG", Name=standard.guide, Type="IG", Version=standard.version,
        Status="Final",
    )  # fmt: skip
    _add(
        standards, "Standard", DEF, OID="STD.CT", Name="CDISC/NCI", Type="CT",
        PublishingSet=standard.publishing_set, Version=standard.terminology.package, Status="Final",
    )  # fmt: skip


def _levels(metadata: Any, levels: dict[str, tuple[ValueLevel, ...]]) -> None:
    """Lists of conditions first, then each condition once: the order of the schema."""
    conditions: dict[str, tuple[str, ValueLevel]] = {}
    for dataset, found in levels.items():
        by_variable: dict[str, list[ValueLevel]] = {}
        for one in found:
            by_variable.setdefault(one.variable, []).append(one)
        for variable, listed in by_variable.items():
            value_list = _add(metadata, "ValueListDef", DEF, OID=f"VL.{dataset}.{variable}")
            for number, one in enumerate(listed, start=1):
                oid = f"IT.{dataset}.{variable}.{_oid(one.condition)}"
                reference = _add(value_list, "ItemRef", ItemOID=oid, OrderNumber=str(number), Mandatory="No")
                where = f"WC.{dataset}.{_oid(one.condition)}"
                _add(reference, "WhereClauseRef", DEF, WhereClauseOID=where)
                conditions.setdefault(where, (dataset, one))
    for oid, (dataset, one) in conditions.items():
        clause = _add(metadata, "WhereClauseDef", DEF, OID=oid)
        for variable, value in one.where:
            check = _add(clause, "RangeCheck", Comparator="EQ", SoftHard="Soft")
            check.set(f"{{{DEF}}}ItemOID", f"IT.{dataset}.{variable}")
            _add(check, "CheckValue").text = value


def _group(metadata: Any, one: Described, standard: Standard) -> None:
    name = one.dataset.name
    group = _add(
        metadata,
        "ItemGroupDef",
        OID=f"IG.{name}",
        Name=name,
        Repeating="Yes" if one.repeats else "No",
        IsReferenceData="Yes" if one.is_reference else "No",
        SASDatasetName=name,
        Purpose="Analysis" if standard.guide.startswith("ADaM") else "Tabulation",
    )
    if not standard.guide.startswith("ADaM"):
        group.set("Domain", one.dataset.domain)
    group.set(f"{{{DEF}}}Structure", one.structure)
    group.set(f"{{{DEF}}}ArchiveLocationID", f"LF.{name}")
    group.set(f"{{{DEF}}}StandardOID", "STD.IG")
    if not one.dataset.rows:
        group.set(f"{{{DEF}}}HasNoData", "Yes")
    if one.comment:
        group.set(f"{{{DEF}}}CommentOID", f"COM.{name}")
    _describe(group, one.dataset.label)
    for number, column in enumerate(one.dataset.columns, start=1):
        item = one.items[column.name]
        reference = _add(
            group, "ItemRef", ItemOID=f"IT.{name}.{column.name}", OrderNumber=str(number),
            Mandatory="Yes" if item.mandatory else "No",
        )  # fmt: skip
        if column.key:
            reference.set("KeySequence", str(column.key))
        if item.role:
            reference.set("Role", item.role)
        if item.method:
            reference.set("MethodOID", f"MT.{name}.{column.name}")
        if one.dataset.rows and not any(column_text(one.dataset, column.name)):
            reference.set(f"{{{DEF}}}HasNoData", "Yes")
    _add(group, "Class", DEF, Name=one.domain_class)
    leaf = _add(group, "leaf", DEF, ID=f"LF.{name}")
    leaf.set(f"{{{XLINK}}}href", f"xpt/{name.lower()}.xpt")
    _add(leaf, "title", DEF).text = f"{name.lower()}.xpt"


def _items(metadata: Any, one: Described, lists: UsedLists, levels: tuple[ValueLevel, ...]) -> None:
    name = one.dataset.name
    for column, shape in zip(one.dataset.columns, shapes_of(one.dataset), strict=True):
        item = one.items[column.name]
        made = _item(metadata, f"IT.{name}.{column.name}", column.name, column.label, shape)
        if column.format:
            made.set(f"{{{DEF}}}DisplayFormat", column.format)
        if item.comment:
            made.set(f"{{{DEF}}}CommentOID", f"COM.{name}.{column.name}")
        if oid := lists.references.get((name, column.name)):
            _add(made, "CodeListRef", CodeListOID=oid)
        _origin(made, item)
        if any(level.variable == column.name for level in levels):
            _add(made, "ValueListRef", DEF, ValueListOID=f"VL.{name}.{column.name}")
    for level in levels:
        oid = f"IT.{name}.{level.variable}.{_oid(level.condition)}"
        made = _item(metadata, oid, level.variable, level.label, level.shape)
        _origin(made, one.items[level.variable])


def _item(metadata: Any, oid: str, name: str, label: str, shape: Shape) -> Any:
    made = _add(metadata, "ItemDef", OID=oid, Name=name, DataType=shape.type, SASFieldName=name)
    if shape.length is not None:
        made.set("Length", str(shape.length))
    if shape.decimals is not None:
        made.set("SignificantDigits", str(shape.decimals))
    _describe(made, label)
    return made


def _origin(made: Any, item: Item) -> None:
    origin = _add(made, "Origin", DEF, Type=item.origin)
    if item.by:
        origin.set("Source", item.by)
    if item.predecessor:
        _describe(origin, item.predecessor)


def _codelist(metadata: Any, used: UsedList) -> None:
    made = _add(metadata, "CodeList", OID=used.oid, Name=used.name, DataType="text")
    if any(term.code for term in used.terms):
        made.set(f"{{{DEF}}}StandardOID", "STD.CT")
    else:
        made.set(f"{{{DEF}}}IsNonStandard", "Yes")
    decoded = all(term.decode for term in used.terms)
    for number, term in enumerate(used.terms, start=1):
        kind = "CodeListItem" if decoded else "EnumeratedItem"
        shown = _add(made, kind, CodedValue=term.value, OrderNumber=str(number))
        if term.extended and used.code:
            shown.set(f"{{{DEF}}}ExtendedValue", "Yes")
        if decoded:
            _text(_add(shown, "Decode"), term.decode)
        if term.code:
            _add(shown, "Alias", Context="nci:ExtCodeID", Name=term.code)
    if used.code:
        _add(made, "Alias", Context="nci:ExtCodeID", Name=used.code)


def _methods(metadata: Any, datasets: Iterable[Described]) -> None:
    for one in datasets:
        for column in one.dataset.columns:
            method = one.items[column.name].method
            if method:
                _method(metadata, f"{one.dataset.name}.{column.name}", method)


def _method(metadata: Any, place: str, method: Method) -> None:
    made = _add(metadata, "MethodDef", OID=f"MT.{place}", Name=f"Method of {place}", Type="Computation")
    _describe(made, method.text)
    if method.code:
        context = f"Python, {method.program}, trial-fhir-adapter {__version__}"
        _add(made, "FormalExpression", Context=context).text = method.code


def _comments(metadata: Any, datasets: Iterable[Described]) -> None:
    for one in datasets:
        if one.comment:
            _describe(_add(metadata, "CommentDef", DEF, OID=f"COM.{one.dataset.name}"), one.comment)
        for column in one.dataset.columns:
            if text := one.items[column.name].comment:
                oid = f"COM.{one.dataset.name}.{column.name}"
                _describe(_add(metadata, "CommentDef", DEF, OID=oid), text)


def _oid(condition: str) -> str:
    """A condition as part of an OID: letters, digits, dots and hyphens."""
    return "".join(sign if (sign.isalnum() and sign.isascii()) or sign in ".-" else "_" for sign in condition)


def _describe(parent: Any, text: str) -> None:
    _text(_add(parent, "Description"), text)


def _text(parent: Any, text: str) -> None:
    translated = _add(parent, "TranslatedText")
    translated.set(f"{{{XML}}}lang", "en")
    translated.text = text


def _add(parent: Any, name: str, namespace: str = ODM, /, **attributes: str) -> Any:
    return etree.SubElement(parent, f"{{{namespace}}}{name}", attributes)
