"""Analysis datasets, checked and written beside SDTM in the same formats."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from adapter.exports.adam.adsl import ADSL_METHODS
from adapter.exports.adam.build import AdamBuild
from adapter.exports.adam.conformance import WAIVABLE, adam_gate
from adapter.exports.adam.methods import BDS_METHODS
from adapter.exports.adam.spec import AdamSpecs
from adapter.exports.dataset import Dataset
from adapter.exports.described import Standard, described
from adapter.exports.documents import definition
from adapter.exports.methods import Function
from adapter.exports.package import Document, ExportReport, write_package
from adapter.exports.profile import Profile, told
from adapter.exports.study import StudyConfig
from adapter.exports.waivers import load_waivers, stop_at

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
    Raises :class:`adapter.errors.ExportError` for a finding that is an error and not waived, and
    :class:`adapter.errors.MappingError` for a waiver that cannot be read.
    """
    checked = adam_gate(
        built.datasets, sdtm, specs, load_waivers(folder / "waivers.yaml", specs.described, WAIVABLE)
    )
    stop_at(checked, "mappings/adam/waivers.yaml")
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
        checks=checked.as_checks(),
        documents=adam_documents(study, specs, folder, built.datasets, snapshot_time),
        profile=told(profile),
    )


def adam_documents(
    study: StudyConfig, specs: AdamSpecs, folder: Path, datasets: Sequence[Dataset], created: datetime
) -> dict[str, Document]:
    """Define-XML of the analysis datasets with its stylesheet and page, by path."""
    standard = Standard("ADaMIG", STANDARD, "ADaM", specs.codelists)
    functions: dict[str, Function] = {**BDS_METHODS, **ADSL_METHODS}
    return definition(study, standard, described(specs.described, datasets, folder, functions), created)
