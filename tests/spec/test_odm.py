"""The ODM snapshot: valid, and holding exactly the cells of the datasets, each once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from adapter.exports.define import ODM
from adapter.exports.exact import exact_text
from adapter.exports.odm import write_odm
from tests.spec.test_define import CDISC, STUDY
from tests.spec.test_sdtm_package import hospital

NAMES = {"o": ODM}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("odm") / "odm.xml"
    write_odm(made, STUDY, hospital().build().datasets)
    return made


def test_it_is_valid_against_cdiscs_schema(path: Path) -> None:
    schema = CDISC / "schemas/odm/1.3.2/ODM1-3-2.xsd"
    if not schema.exists():
        pytest.skip("the CDISC schemas are not beside this checkout")
    validator = etree.XMLSchema(etree.parse(schema))
    assert validator.validate(etree.parse(path)), validator.error_log


def test_every_cell_is_there_once(path: Path) -> None:
    found = Counter(
        (item.get("ItemOID"), item.get("Value"))
        for item in etree.parse(path).iterfind(".//o:ItemData", NAMES)
    )
    wanted: Counter[tuple[str, str]] = Counter()
    for one in hospital().build().datasets:
        for row in one.rows:
            for column, cell in zip(one.columns, row, strict=True):
                if text := exact_text(cell):
                    wanted[f"IT.{one.name}.{column.name}", text] += 1
    assert found == wanted


def test_rows_are_under_their_subject_and_visit(path: Path) -> None:
    """Albumin of 2019-05-28, six days before the first dose, lies in SCREENING (-28 to -1); DM in none."""
    tree = etree.parse(path)
    where = (
        "//o:ItemData[@ItemOID='IT.LB.LBTESTCD' and @Value='ALB']/ancestor::o:StudyEventData/@StudyEventOID"
    )
    assert "SE.1" in tree.xpath(where, namespaces=NAMES)
    assert tree.xpath("//o:StudyEventDef[@OID='SE.1']/@Name", namespaces=NAMES) == ["SCREENING"]
    everywhere = tree.xpath(
        "//o:FormData[@FormOID='F.DM']/ancestor::o:StudyEventData/@StudyEventOID", namespaces=NAMES
    )
    assert set(everywhere) == {"SE.COMMON"}
    for subject in tree.iterfind(".//o:SubjectData", NAMES):
        key = subject.get("SubjectKey")
        values = subject.xpath(".//o:ItemData[contains(@ItemOID, '.USUBJID')]/@Value", namespaces=NAMES)
        assert set(values) == {key}


def test_every_reference_leads_somewhere(path: Path) -> None:
    tree = etree.parse(path)
    for used, defined in (
        ("//@ItemOID", "//o:ItemDef/@OID"),
        ("//@ItemGroupOID", "//o:ItemGroupDef/@OID"),
        ("//@FormOID", "//o:FormDef/@OID"),
        ("//@StudyEventOID", "//o:StudyEventDef/@OID"),
        ("//@MetaDataVersionOID", "//o:MetaDataVersion/@OID"),
    ):
        names = tree.xpath(defined, namespaces=NAMES)
        assert len(set(names)) == len(names)
        assert set(tree.xpath(used, namespaces=NAMES)) <= set(names), used


def test_the_bytes_are_the_same_again_and_hold_no_person(path: Path, tmp_path: Path) -> None:
    write_odm(tmp_path / "again.xml", STUDY, hospital().build().datasets)
    assert (tmp_path / "again.xml").read_bytes() == path.read_bytes()
    assert b"CANARY" not in path.read_bytes()
