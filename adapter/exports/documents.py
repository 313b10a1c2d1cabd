"""The files beside the datasets that say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from adapter.exports.dataset import Dataset
from adapter.exports.define import STYLESHEET, Study, define_html, define_xml, stylesheet
from adapter.exports.described import Described, Standard, described
from adapter.exports.odm import write_odm
from adapter.exports.package import Document
from adapter.exports.spec import Specs
from adapter.exports.study import StudyConfig


def sdtm_documents(
    study: StudyConfig, specs: Specs, folder: Path, datasets: Sequence[Dataset], created: datetime
) -> dict[str, Document]:
    """:func:`definition` of the datasets of SDTM, and the same rows as ODM, by path."""
    standard = Standard("SDTMIG", "3.4", "SDTM", specs.codelists)
    return {
        **definition(study, standard, described(specs, datasets, folder), created),
        "odm.xml": lambda path: write_odm(path, told_of(study, created), datasets),
    }


def definition(
    study: StudyConfig, standard: Standard, datasets: Sequence[Described], created: datetime
) -> dict[str, Document]:
    """Define-XML with its stylesheet and as the page that the stylesheet makes of it, by path."""
    define = define_xml(told_of(study, created), standard, datasets)
    return {"define.xml": define, "define.html": define_html(define), STYLESHEET: stylesheet()}


def told_of(study: StudyConfig, created: datetime) -> Study:
    """Whose metadata these are, as the files say it."""
    title = next((one.value for one in study.parameters if one.parameter == "TITLE"), study.study_id)
    return Study(study.study_id, title, f"Site {study.site_id}", created)
