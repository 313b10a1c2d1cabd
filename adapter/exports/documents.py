"""The files beside the datasets that say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from adapter.exports.dataset import Dataset
from adapter.exports.define import STYLESHEET, Study, define_html, define_xml, stylesheet
from adapter.exports.described import Standard, described
from adapter.exports.odm import write_odm
from adapter.exports.package import Document
from adapter.exports.spec import Specs
from adapter.exports.study import StudyConfig


def sdtm_documents(
    study: StudyConfig, specs: Specs, folder: Path, datasets: Sequence[Dataset], created: datetime
) -> dict[str, Document]:
    """Define-XML with its stylesheet and as the page that the stylesheet makes of it, and ODM, by path."""
    title = next((one.value for one in study.parameters if one.parameter == "TITLE"), study.study_id)
    told = Study(study.study_id, title, f"Site {study.site_id}", created)
    standard = Standard("SDTMIG", "3.4", "SDTM", specs.codelists)
    define = define_xml(told, standard, described(specs, datasets, folder))
    return {
        "define.xml": define,
        "define.html": define_html(define),
        STYLESHEET: stylesheet(),
        "odm.xml": lambda path: write_odm(path, told, datasets),
    }
