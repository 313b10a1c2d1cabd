"""The same rows in every format a sponsor may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adapter.exports import csv_file, dataset_json, parquet, xpt
from adapter.exports.dataset import Dataset, check
from adapter.exports.dataset_json import Provenance

_Write: TypeAlias = Callable[[Dataset, Path, Provenance], None]

# folder and ending -> how it is written
_WRITERS: dict[tuple[str, str], _Write] = {
    ("csv", "csv"): lambda dataset, path, _: csv_file.write_checked(dataset, path),
    ("dataset-json", "json"): dataset_json.write_checked,
    ("dataset-json", "ndjson"): dataset_json.write_checked_lines,
    ("parquet", "parquet"): lambda dataset, path, _: parquet.write_checked(dataset, path),
    ("xpt", "xpt"): lambda dataset, path, who: xpt.write_checked(dataset, path, created=who.created),
}


def files_of(dataset: str) -> list[str]:
    """The paths of one dataset's files within a package, in order."""
    return [f"{folder}/{dataset.lower()}.{ending}" for folder, ending in sorted(_WRITERS)]


def write_formats(dataset: Dataset, folder: Path, provenance: Provenance) -> None:
    """Write every format of one dataset under ``folder``; raises :class:`adapter.errors.ExportError`."""
    check(dataset)
    for (name, ending), write in _WRITERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        write(dataset, folder / name / f"{dataset.name.lower()}.{ending}", provenance)
