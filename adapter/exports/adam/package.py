"""Analysis datasets, checked and written beside SDTM in the same formats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from adapter.errors import ExportError
from adapter.exports.adam.adsl import ADSL_METHODS
from adapter.exports.adam.build import AdamBuild
from adapter.exports.adam.conformance import RULES, check_adam
from adapter.exports.adam.methods import BDS_METHODS
from adapter.exports.adam.spec import AdamSpecs
from adapter.exports.codelists import Units
from adapter.exports.dataset import Dataset
from adapter.exports.define import STYLESHEET, Study, define_html, define_xml, stylesheet
from adapter.exports.described import Standard, described
from adapter.exports.package import ExportReport, write_package
from adapter.exports.profile import Profile, told
from adapter.exports.spec import Specs
from adapter.exports.study import StudyConfig

STANDARD = "1.3"


def write_adam(
    built: AdamBuild,
    sdtm: Sequence[Dataset],
    *,
    study: StudyConfig,
    specs: AdamSpecs,
    folder: Path,
    target: Path,
    snapshot_time: datetime,
    profile: Profile = "sponsor",
) -> ExportReport:
    """Write what :func:`adapter.exports.adam.build.build_adam` made, in every format, all or nothing.

    ``sdtm`` are the datasets that lie beside it, ``folder`` is that of the specifications.
    Raises :class:`ExportError` if a rule of ADaMIG is broken.
    """
    remarks = check_adam(built.datasets, sdtm)
    if remarks:
        first = remarks[0]
        raise ExportError(
            f"{len(remarks)} remarks of the ADaM rules; the first: {first.rule} {first.message}",
            where=f"{first.dataset}.{first.variable}",
            fix="see docs/adam.md; nothing was written",
        )
    return write_package(
        target,
        built.datasets,
        study_id=study.study_id,
        site_id=study.site_id,
        snapshot_time=snapshot_time,
        standards={"ADaMIG": STANDARD, "ADaM CT": specs.codelists.package},
        versions={"specifications": specs.digest, **study.versions},
        subjects={},
        withheld=built.withheld,
        extensions={},
        checks={"rules": sorted(RULES), "errors": 0},
        documents=adam_documents(study, specs, folder, built.datasets, snapshot_time),
        profile=told(profile),
    )


def adam_documents(
    study: StudyConfig, specs: AdamSpecs, folder: Path, datasets: Sequence[Dataset], created: datetime
) -> dict[str, bytes]:
    """Define-XML of the analysis datasets with its stylesheet and page, by path."""
    title = next((one.value for one in study.parameters if one.parameter == "TITLE"), study.study_id)
    own = Specs(
        tuple(one.dataset for one in specs.datasets.values()), specs.codelists, Units({}), specs.digest
    )
    define = define_xml(
        Study(study.study_id, title, f"Site {study.site_id}", created),
        Standard("ADaMIG", STANDARD, "ADaM", specs.codelists),
        described(own, datasets, folder, {**BDS_METHODS, **ADSL_METHODS}),
    )
    return {"define.xml": define, "define.html": define_html(define), STYLESHEET: stylesheet()}
