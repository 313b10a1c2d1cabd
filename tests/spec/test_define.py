"""Define-XML of a small hospital: true to the rows, whole in itself, valid, and readable."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from adapter.exports import results
from adapter.exports.dataset import Column, Dataset
from adapter.exports.define import DEF, ODM, Study, define_html, define_xml
from adapter.exports.derive import GROUP_METHODS, ROW_METHODS
from adapter.exports.described import Standard, described
from adapter.exports.lineage import made_how
from adapter.exports.methods import plain
from adapter.exports.spec import load_specs
from adapter.exports.value_level import Shape, shape_of
from tests.spec.sdtm_case import SPECS
from tests.spec.test_sdtm_package import hospital

CDISC = Path(__file__).resolve().parents[3] / "shared/data/cdisc"
NAMES = {"o": ODM, "d": DEF, "x": "http://www.w3.org/1999/xlink"}
STUDY = Study("NCT03864250", "Tacrolimus", "Site SITE01", datetime(2020, 7, 1, tzinfo=UTC))


@cache
def made() -> bytes:
    specs = load_specs(SPECS)
    standard = Standard("SDTMIG", "3.4", "SDTM", specs.codelists)
    return define_xml(STUDY, standard, described(specs, hospital().build().datasets, SPECS))


def find(path: str) -> list[Any]:
    found = etree.fromstring(made()).xpath(path, namespaces=NAMES)
    assert isinstance(found, list)
    return found


def text(path: str) -> str:
    """The text of one element."""
    found = find(path)
    assert len(found) == 1, f"{len(found)} of {path}"
    return "".join(found[0].itertext()).strip()


def test_it_is_valid_against_cdiscs_schema() -> None:
    schema = CDISC / "schemas/define/2.1/define2-1-0.xsd"
    if not schema.exists():
        pytest.skip("the CDISC schemas are not beside this checkout")
    validator = etree.XMLSchema(etree.parse(schema))
    assert validator.validate(etree.fromstring(made())), validator.error_log


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    pairs = [
        ("//o:ItemRef/@ItemOID", "//o:ItemDef/@OID"),
        ("//o:ItemRef/@MethodOID", "//o:MethodDef/@OID"),
        ("//o:CodeListRef/@CodeListOID", "//o:CodeList/@OID"),
        ("//d:ValueListRef/@ValueListOID", "//d:ValueListDef/@OID"),
        ("//d:WhereClauseRef/@WhereClauseOID", "//d:WhereClauseDef/@OID"),
        ("//@d:CommentOID", "//d:CommentDef/@OID"),
        ("//@d:ArchiveLocationID", "//d:leaf/@ID"),
    ]
    for references, definitions in pairs:
        defined = find(definitions)
        assert len(set(defined)) == len(defined), definitions
        assert set(find(references)) == set(defined), references
    assert set(find("//@d:StandardOID")) == set(find("//d:Standard/@OID"))
    assert set(find("//o:RangeCheck/@d:ItemOID")) <= set(find("//o:ItemDef/@OID"))


def test_it_describes_the_columns_of_the_datasets_in_their_order() -> None:
    for dataset in hospital().build().datasets:
        group = f"//o:ItemGroupDef[@OID='IG.{dataset.name}']"
        assert find(f"{group}/o:ItemRef/@ItemOID") == [
            f"IT.{dataset.name}.{column.name}" for column in dataset.columns
        ]
        assert text(f"{group}/o:Description") == dataset.label
        assert find(f"{group}/d:leaf/@x:href") == [f"xpt/{dataset.name.lower()}.xpt"]
        assert find(f"{group}/o:ItemRef/@KeySequence") != []
        for column in dataset.columns:
            item = f"//o:ItemDef[@OID='IT.{dataset.name}.{column.name}']"
            assert text(f"{item}/o:Description") == column.label
            if column.kind == "text":
                assert find(f"{item}/@Length") == [str(column.length)]


def test_the_sources_code_is_the_code_that_ran() -> None:
    """Whatever is derived has a method; its expression is the function that the specification names."""
    for item in find("//o:ItemGroupDef/o:ItemRef"):
        origin = find(f"//o:ItemDef[@OID='{item.get('ItemOID')}']/d:Origin/@Type")
        assert (item.get("MethodOID") is not None) == (origin == ["Derived"]), item.get("ItemOID")
    code = text("//o:MethodDef[@OID='MT.LB.LBSTRESC']/o:FormalExpression")
    assert code == inspect.getsource(results.standard_text).strip()
    told = text("//o:MethodDef[@OID='MT.LB.LBSTRESC']/o:Description")
    assert told == (
        "--STRESC: the canonical value as text with its comparator, or the answer in controlled terms."
    )
    days = text("//o:MethodDef[@OID='MT.LB.LBDY']/o:Description")
    assert days.endswith("Parameters: of: LBDTC.")


def test_every_method_says_what_it_does() -> None:
    for name, (method, _) in {**ROW_METHODS, **GROUP_METHODS}.items():
        assert inspect.getdoc(method), f"{name} has no docstring, which Define-XML shows as its description"


def test_terms_in_use_carry_their_nci_codes() -> None:
    """NCI EVS, SDTM CT 2025-03-28: C66731 is Sex with M C20197 and F C16576; C65047 is the list of tests."""
    sex = "//o:CodeList[@OID='CL.SEX']"
    assert find(f"{sex}/o:Alias/@Name") == ["C66731"]
    assert find(f"{sex}/o:EnumeratedItem/@CodedValue") == ["F", "M"]
    assert find(f"{sex}/o:EnumeratedItem/o:Alias/@Name") == ["C16576", "C20197"]
    tests = "//o:CodeList[@OID='CL.LBTESTCD']"
    assert find(f"{tests}/o:Alias/@Name") == ["C65047"]
    assert text(f"{tests}/o:CodeListItem[@CodedValue='PROTEXR']/o:Decode") == "Protein Excretion Rate"
    assert find("//o:CodeList[@OID='CL.PC.PCTESTCD']/@d:IsNonStandard") == ["Yes"]
    assert text("//o:CodeList[@OID='CL.TA.ARMCD']/o:CodeListItem[@CodedValue='TACPRED']") == (
        "Tacrolimus + Prednisone"
    )


def test_each_test_has_its_own_unit_and_type() -> None:
    """24-hour protein was entered as 8.5 g/d (8500 mg/24h), albumin as 24.9 and <20 g/L in serum."""
    protein = "//o:ItemDef[@OID='IT.LB.LBSTRESN.LBTESTCD.PROTEXR.LBSPEC.URINE']"
    assert text(f"{protein}/o:Description") == "Protein Excretion Rate (g/day)"
    assert find(f"{protein}/@DataType") == ["float"]
    assert find(f"{protein}/@SignificantDigits") == ["1"]
    albumin = "//o:ItemDef[@OID='IT.LB.LBSTRESC.LBTESTCD.ALB.LBSPEC.SERUM']"
    assert find(f"{albumin}/@DataType") == ["text"]  # because of the comparator
    where = "//d:WhereClauseDef[@OID='WC.LB.LBTESTCD.ALB.LBSPEC.SERUM']/o:RangeCheck"
    assert find(f"{where}/@d:ItemOID") == ["IT.LB.LBTESTCD", "IT.LB.LBSPEC"]
    assert find(f"{where}/o:CheckValue/text()") == ["ALB", "SERUM"]
    assert find("//o:ItemDef[@OID='IT.TS.TSVAL.TSPARMCD.AGEMIN']")


def test_what_is_not_there_is_said_to_be_not_there() -> None:
    assert find("//o:ItemRef[@ItemOID='IT.DM.DTHDTC']/@d:HasNoData") == ["Yes"]
    assert find("//o:ItemRef[@ItemOID='IT.DM.SEX']/@d:HasNoData") == []


def test_comments_come_with_the_specification() -> None:
    assert text("//d:CommentDef[@OID='COM.DM']").startswith("Demographics: everyone who signed the consent")
    assert "male = M; female = F" in text("//d:CommentDef[@OID='COM.DM.SEX']")


@pytest.mark.parametrize(
    ("kind", "texts", "shape"),
    [
        ("datetime", ["2020-01-01", "2020-02-02"], Shape("date")),
        ("datetime", ["2020-01-01T08:00:00"], Shape("datetime")),
        ("datetime", ["2020-01", "2020-01-01"], Shape("partialDate")),
        ("datetime", ["2020-01", "2020-01-01T08:00"], Shape("partialDatetime")),
        ("datetime", [""], Shape("datetime")),
        ("float", ["24.9", "<20", ""], Shape("float", 4, 1)),
        ("integer", ["-14", "337"], Shape("integer", 3)),
        ("text", ["abc"], Shape("text", 8)),
    ],
)
def test_shapes(kind: Any, texts: list[str], shape: Shape) -> None:
    assert shape_of(Column("X", "X", kind), texts) == shape


def test_docstrings_become_plain_text() -> None:
    assert plain("--SEQ: 1..n,\n    by ``listed``\n    variables, see :func:`~a.b.other`.\n\nMore.") == (
        "--SEQ: 1..n, by listed variables, see other.\n\nMore."
    )


def test_the_stylesheet_makes_a_page_of_it() -> None:
    page = define_html(made()).decode()
    assert "Laboratory Test Results" in page
    assert "Protein Excretion Rate" in page
    assert "C65047" in page


def test_no_person_is_in_it_and_the_bytes_are_the_same_again() -> None:
    first = made()
    made.cache_clear()
    assert made() == first
    assert b"CANARY" not in first


def test_an_empty_dataset_is_described_too() -> None:
    specs = load_specs(SPECS)
    empty = [Dataset(one.name, one.label, one.columns, ()) for one in specs.datasets]
    standard = Standard("SDTMIG", "3.4", "SDTM", specs.codelists)
    root = etree.fromstring(define_xml(STUDY, standard, described(specs, empty, SPECS)))
    assert len(root.xpath("//o:ItemGroupDef[@d:HasNoData='Yes']", namespaces=NAMES)) == len(empty)
    assert root.xpath("//o:CodeList[@OID='CL.SEX']/o:EnumeratedItem/@CodedValue", namespaces=NAMES) == [
        "F",
        "INTERSEX",
        "M",
        "U",
    ]  # all embedded terms: nothing says which will come


OFFICIAL = CDISC / "examples/odm-define/defineV21-SDTM.xml"


def test_supplemental_qualifiers_belong_to_the_domain_of_their_parent() -> None:
    """As in CDISC's own example: Domain="DM" of SUPPDM."""
    found = {one.get("Name"): one.get("Domain") for one in find("//o:ItemGroupDef")}
    assert found["SUPPLB"] == "LB"
    assert (found["LB"], found["RELREC"]) == ("LB", "RELREC")


@pytest.mark.skipif(not CDISC.is_dir(), reason="the variables of SDTMIG are not beside this checkout")
def test_roles_are_those_of_sdtmig() -> None:
    """MHSTDY and MHENDY are of the model's general timing variables; the rest stand in SDTMIG 3.4 itself."""
    guide = json.loads((CDISC / "ig/sdtmig-3.4-variables.json").read_text())
    for group in find("//o:ItemGroupDef"):
        name = group.get("Name")
        known = guide["SUPPQUAL" if name.startswith("SUPP") else name]["vars"]
        roles = {one["name"]: one["role"] for one in known} | {"MHSTDY": "Timing", "MHENDY": "Timing"}
        for reference in group.findall(f"{{{ODM}}}ItemRef"):
            variable = reference.get("ItemOID").split(".")[-1]
            assert reference.get("Role") == roles[variable], (name, variable)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="CDISC's example is not beside this checkout")
@pytest.mark.parametrize(
    ("dataset", "variable", "origin", "method"),
    [  # read off CDISC's file by eye
        (
            "DM",
            "AGE",
            "Derived",
            "Age at Screening Date (Screening Date - Birth date). For the complete algorithm",
        ),
        ("DM", "SEX", "Collected", ""),
        ("DM", "NOSUCH", "", ""),
    ],
)
def test_cdiscs_own_example_is_read_by_its_references(
    dataset: str, variable: str, origin: str, method: str
) -> None:
    """Its OIDs are not ours: MT.AGE is the method of IT.DM.AGE."""
    found = made_how(OFFICIAL, dataset, variable)
    assert found[0] == origin
    assert found[1].startswith(method)
    assert bool(found[1]) is bool(method)


@pytest.mark.skipif(not OFFICIAL.exists(), reason="CDISC's example is not beside this checkout")
def test_the_page_of_cdiscs_own_example_names_its_datasets() -> None:
    page = define_html(OFFICIAL.read_bytes()).decode()
    assert all(name in page for name in ("Demographics", "Trial Summary", "Age at Screening Date"))
