"""The specifications against SDTMIG 3.4 and CDISC terminology, and how a mistake in them is answered."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.errors import MappingError
from adapter.exports.spec import DatasetSpec, load_specs
from adapter.exports.study import load_study
from tests.spec.sdtm_case import ROOT, SPECIFICATIONS, SPECS, STUDY_FILE

CDISC = ROOT.parent / "shared/data/cdisc"
needs_cdisc = pytest.mark.skipif(not CDISC.is_dir(), reason="the CDISC metadata is not beside this checkout")
BY_NAME = {spec.name: spec for spec in SPECIFICATIONS.datasets}


@pytest.fixture(scope="module")
def guide() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((CDISC / "ig/sdtmig-3.4-variables.json").read_text())
    return content


@pytest.fixture(scope="module")
def terminology() -> dict[str, Any]:
    path = CDISC / "ct/sdtm_codelists_trial_domains_2025-03-28.json"
    content: dict[str, Any] = json.loads(path.read_text())["codelists"]
    return content


def test_the_datasets_are_there() -> None:
    trial_design = {"TA", "TE", "TI", "TS", "TV"}
    subjects = {"DM", "SE", "SV", "DS", "IE"}
    clinical = {"AE", "CM", "EC", "EX", "IS", "LB", "MH", "MI", "PC", "PR", "RS", "VS"}
    relationships = {"RELREC", "SUPPIS", "SUPPLB", "SUPPPC", "SUPPVS"}
    assert set(BY_NAME) == trial_design | subjects | clinical | relationships


def _in_guide(spec: DatasetSpec) -> str:
    return "SUPPQUAL" if spec.parent else spec.name


@needs_cdisc
@pytest.mark.parametrize("spec", SPECIFICATIONS.datasets, ids=lambda spec: spec.name)
def test_datasets_are_those_of_the_implementation_guide(spec: DatasetSpec, guide: dict[str, Any]) -> None:
    wanted = guide[_in_guide(spec)]
    if spec.parent:
        wanted = {**wanted, "label": f"Supplemental Qualifiers for {spec.parent}"}
    assert (spec.label, spec.domain_class, spec.structure) == (
        wanted["label"],
        wanted["cls"],
        wanted["structure"],
    )


@needs_cdisc
@pytest.mark.parametrize("spec", SPECIFICATIONS.datasets, ids=lambda spec: spec.name)
def test_variables_are_those_of_the_implementation_guide(spec: DatasetSpec, guide: dict[str, Any]) -> None:
    """Name, label, type, Core and codelists of each variable; their order; Req and Exp all there."""
    wanted = {variable["name"]: variable for variable in _with_model_days(guide[_in_guide(spec)]["vars"])}
    for variable in spec.variables:
        theirs = wanted[variable.name]
        codes = [code for code, _ in theirs["codelists"]]
        assert variable.label == theirs["label"]
        assert (variable.type in ("integer", "float")) == (theirs["type"] == "Num"), variable.name
        assert variable.core == theirs["core"], variable.name
        ours = [SPECIFICATIONS.codelists.codelists[name].code for name in variable.codelist]
        assert ours == codes, variable.name
        is_date = (theirs["dvd"] or "").startswith("ISO 8601 datetime")
        assert (variable.type == "datetime") == is_date, variable.name
    names = [variable.name for variable in spec.variables]
    assert names == [name for name in wanted if name in names]
    assert {name for name, one in wanted.items() if one["core"] != "Perm"} <= set(names)


def _with_model_days(variables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """MH: study days of start and end follow MHDY; SDTM v2.0 timing variables that SDTMIG does not list."""
    names = [variable["name"] for variable in variables]
    if "MHDY" not in names:
        return variables
    days = [
        {"name": name, "label": label, "type": "Num", "core": "Perm", "codelists": [], "dvd": None}
        for name, label in (
            ("MHSTDY", "Study Day of Start of Observation"),
            ("MHENDY", "Study Day of End of Observation"),
        )
    ]
    place = names.index("MHDY") + 1
    return [*variables[:place], *days, *variables[place:]]


@needs_cdisc
def test_embedded_terminology_is_the_published_one(terminology: dict[str, Any]) -> None:
    assert SPECIFICATIONS.codelists.package == "2025-03-28"
    for name, ours in SPECIFICATIONS.codelists.codelists.items():
        theirs = terminology[name]
        assert (ours.code, ours.name, ours.extensible) == (
            theirs["code"],
            theirs["name"],
            theirs["extensible"],
        )
        assert ours.terms == {term: theirs["terms"][term][0] for term in ours.terms}
        if not ours.extensible:
            assert set(ours.terms) == set(theirs["terms"]), "a closed list is embedded whole"


@needs_cdisc
def test_units_are_synonyms_or_the_same_quantity(terminology: dict[str, Any]) -> None:
    """No spelling is a synonym of another term of the same list than the one it is filed under."""
    for name, spellings in SPECIFICATIONS.units.terms.items():
        owners = {synonym: term for term, (_, also) in terminology[name]["terms"].items() for synonym in also}
        for spelling, term in spellings.items():
            if spelling in terminology[name]["terms"]:
                assert spelling == term
            elif spelling in owners:
                same = terminology[name]["terms"][owners[spelling]][0] == terminology[name]["terms"][term][0]
                assert same, (spelling, term, owners[spelling])


def test_standard_units_are_the_canonical_units_of_the_concepts() -> None:
    """``ucum`` of a term is the unit in which ``mappings/concepts.yaml`` keeps that concept."""
    concepts = yaml.safe_load((ROOT / "mappings/concepts.yaml").read_text(encoding="utf-8"))["concepts"]
    for spec in SPECIFICATIONS.datasets:
        for concept, variants in spec.terms.items():
            assert concept in concepts, concept
            for variant in variants:
                canonical = concepts[concept].get("unit")
                assert variant.set.get("ucum") in (canonical, None), concept
                if "ucum" in variant.set:
                    unit_list = "PKUNIT" if spec.name == "PC" else "VSRESU" if spec.name == "VS" else "UNIT"
                    assert variant.set["unit"] in SPECIFICATIONS.codelists.codelists[unit_list].terms


def test_a_concept_has_one_dataset() -> None:
    owners: dict[str, str] = {}
    for spec in SPECIFICATIONS.datasets:
        if spec.rows == "findings":
            for concept in spec.terms:
                assert owners.setdefault(concept, spec.name) == spec.name


# what is asked of cdisc.org's terms by hand: concept -> (dataset, code, C-code)
@pytest.mark.parametrize(
    ("concept", "dataset", "code", "nci"),
    [
        ("urine_protein_24h", "LB", "PROTEXR", "C150822"),
        ("albumin", "LB", "ALB", "C64431"),
        ("creatinine", "LB", "CREAT", "C64547"),
        ("pla2r_antibody", "IS", "ATIGGAB", "C198279"),
        ("systolic_bp", "VS", "SYSBP", "C25298"),
    ],
)
def test_terms_looked_up_by_hand(concept: str, dataset: str, code: str, nci: str) -> None:
    variant = BY_NAME[dataset].terms[concept][0]
    assert variant.set[f"{dataset}TESTCD"] == code
    codelist = next(v for v in BY_NAME[dataset].variables if v.name == f"{dataset}TESTCD").codelist[0]
    assert SPECIFICATIONS.codelists.codelists[codelist].terms[code] == nci


def _replace(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("dm", _replace("name: DM", "name: DD"), "another name"),
        ("dm", _replace("type: text", "type: letters"), "Invalid enum value"),
        ("dm", _replace("core: Req", "core: Must"), "Invalid enum value"),
        ("dm", _replace("core: Req", "core: Req, colour: red"), "unknown field `colour`"),
        ("dm", _replace("{copy: person.subjid}", "{copy: person.name}"), "not on the list of what may leave"),
        ("dm", _replace("{copy: person.subjid}", "{}"), "no algorithm"),
        ("dm", _replace("{copy: person.subjid}", "{copy: person.subjid, constant: x}"), "or two"),
        ("dm", _replace("table: sexes", "table: genders"), "no table 'genders'"),
        ("dm", _replace("male: M", "male: MALE"), "'MALE' is not in SEX"),
        ("dm", _replace("codelist: [SEX]", "codelist: [GENDER]"), "no codelist GENDER"),
        ("dm", _replace("derive: age_unit", "derive: guess"), "no method 'guess'"),
        ("dm", _replace("keys: [STUDYID", "keys: [STUDY"), "no variable"),
        ("dm", _replace("length: 40", "length: 400"), "1 to 200 bytes"),
        ("lb", _replace("LBTESTCD: ALB,", "LBTESTCD: ALBUMIN,"), "not in its codelist"),
        ("lb", _replace("LBTESTCD: ALB,", "LBTESTCD: ALT,"), "is not the code of"),
        ("lb", _replace("{derive: study_day, of: LBDTC}", "{derive: study_day}"), "needs of"),
        ("lb", _replace("{derive: study_day, of: LBDTC}", "{derive: study_day, of: LBX}"), "no variable"),
        ("lb", _replace("derive: study_day, of: LBDTC", "derive: study_day, of: LBDTC, at: x"), "at: "),
        ("lb", _replace("copy: fact.start", "copy: fact.original"), "not on the list of what may leave"),
        ("lb", _replace("UNIT_MISSING: original only", "UNIT_MISSING: guess"), "Invalid enum value"),
        ("lb", _replace("when: {method: CKD-EPI}", "when: {original: CKD-EPI}"), "cannot ask for"),
        ("units", _replace("g/day: [g/d,", "g/fortnight: [g/d,"), "not in UNIT"),
        ("units", _replace("mg/day: [mg/d,", "mg/day: [g/d, mg/d,"), "two units"),
        ("codelists", _replace("extensible: false", "extensible: perhaps"), "Expected `bool`"),
        ("dm", _replace("rows: subjects", "rows: subjects\nrows: subjects"), "stands twice"),
        ("dm", _replace("rows: subjects", "rows: [subjects"), "not YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_file_and_line(
    name: str, edit: Callable[[str], str], message: str, tmp_path: Path
) -> None:
    folder = tmp_path / "sdtm"
    shutil.copytree(SPECS, folder)
    path = folder / f"{name}.yaml"
    before = path.read_text(encoding="utf-8")
    path.write_text(edit(before), encoding="utf-8")
    with pytest.raises(MappingError, match=re.escape(message)) as caught:
        load_specs(folder)
    file, _, line = caught.value.where.rpartition(":")
    assert Path(file) == path
    changed = [
        number
        for number, (old, new) in enumerate(
            zip(before.splitlines(), path.read_text(encoding="utf-8").splitlines(), strict=False), start=1
        )
        if old != new
    ]
    assert abs(int(line) - changed[0]) <= 2, caught.value.where


def test_the_digest_changes_with_any_file(tmp_path: Path) -> None:
    folder = tmp_path / "sdtm"
    shutil.copytree(SPECS, folder)
    assert load_specs(folder).digest == SPECIFICATIONS.digest
    (folder / "vs.yaml").write_text((folder / "vs.yaml").read_text() + "# changed\n")
    assert load_specs(folder).digest != SPECIFICATIONS.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [("target: 29, first: 22", "target: 29, first: 32"), ("target: 1, first: -3", "target: 0, first: -3")],
)
def test_a_visit_without_a_window_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "sdtm.yaml"
    path.write_text(_replace(old, new)(STUDY_FILE.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(MappingError, match="window") as caught:
        load_study(path)
    assert re.fullmatch(r".*sdtm\.yaml:\d+", caught.value.where)
