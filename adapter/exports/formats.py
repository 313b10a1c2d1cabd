"""The same rows in every format a sponsor may ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from adapter.exports.csv_file import write_csv
from adapter.exports.dataset import Dataset
from adapter.exports.dataset_json import Provenance, write_dataset_json, write_dataset_ndjson
from adapter.exports.parquet import write_parquet
from adapter.exports.xpt import write_xpt

_Write: TypeAlias = Callable[[Dataset, Path, Provenance], None]

# folder and ending -> how it is written
_WRITERS: dict[tuple[str, str], _Write] = {
    ("csv", "csv"): lambda dataset, path, _: write_csv(dataset, path),
    ("dataset-json", "json"): write_dataset_json,
    ("dataset-json", "ndjson"): write_dataset_ndjson,
    ("parquet", "parquet"): lambda dataset, path, _: write_parquet(dataset, path),
    ("xpt", "xpt"): lambda dataset, path, who: write_xpt(dataset, path, created=who.created),
}


def files_of(dataset: str) -> list[str]:
    """The paths of one dataset's files within a package, in order."""
    return [f"{folder}/{dataset.lower()}.{ending}" for folder, ending in sorted(_WRITERS)]


def write_formats(dataset: Dataset, folder: Path, provenance: Provenance) -> None:
    """Write every format of one dataset under ``folder``; raises :class:`adapter.errors.ExportError`."""
    for (name, ending), write in _WRITERS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        write(dataset, folder / name / f"{dataset.name.lower()}.{ending}", provenance)
