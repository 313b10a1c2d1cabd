"""Bulk Data NDJSON files of the demo hospital (FHIR Bulk Data Access, "Response - Complete Status")."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from adapter.demo.fhir_json import BASE_URL, Chart, Resource
from adapter.errors import ConfigError

TRANSACTION_TIME = "2019-06-03T15:30:00Z"
REQUEST = f"{BASE_URL}/$export"
PART_LINES = 5_000
SPLIT = frozenset({"Observation"})
COMPRESSED = frozenset({"Condition", "DiagnosticReport", "Encounter", "MedicationDispense"})
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


class Part:
    """One NDJSON file being written; gzip without name or time, so that equal lines give equal bytes."""

    def __init__(self, path: Path, compressed: bool) -> None:
        self.path = path
        self.lines = 0
        self._raw: BufferedWriter = path.open("wb")
        self._out: Any = (
            gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0, compresslevel=6)
            if compressed
            else self._raw
        )

    def line(self, data: bytes) -> None:
        self._out.write(data)
        self._out.write(b"\n")
        self.lines += 1

    def close(self) -> None:
        if self._out is not self._raw:
            self._out.close()
        self._raw.close()


class BulkFolder:
    """A folder of NDJSON files with its manifest, written on leaving the ``with`` block."""

    def __init__(self, target: Path, compress: bool | Literal["both"]) -> None:
        self._target = target
        self._compress = compress
        self._open: dict[str, list[Part]] = {}
        self._late: list[Resource] = []
        self.noise: list[dict[str, Any]] = []
        _clear(target)

    def __enter__(self) -> BulkFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for parts in self._open.values():
            parts[-1].close()
        if error is None:
            (self._target / "manifest.json").write_bytes(self._manifest())

    def write(self, resource: Resource, *, escaped: bool = False) -> None:
        data = _ENCODER.encode(resource)
        if escaped:
            ascii_only = _NOT_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", data.decode())
            data = ascii_only.replace("/", "\\/").encode()
        self._part(resource["resourceType"]).line(data)

    def write_chart(self, chart: Chart) -> None:
        for row in chart.rows:
            self.write(row, escaped=row["id"] in chart.escaped)
        for kind, data in chart.raw:
            part = self._part(kind)
            part.line(data)
            planted = "malformed line: JSON cut off in the middle"
            self.noise.append(
                {"story": "noise", "planted": planted, "file": part.path.name, "line": part.lines}
            )
        self._late.extend(chart.late)

    def write_late(self) -> None:
        """What every chart left for later: corrections and older versions after everybody's rows."""
        for row in self._late:
            self.write(row)

    def counts(self) -> dict[str, int]:
        """Lines by resource type, malformed ones included."""
        found: Counter[str] = Counter()
        for kind, parts in self._open.items():
            found[kind] = sum(part.lines for part in parts)
        return dict(sorted(found.items()))

    def sizes(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in sorted(self._target.iterdir())}

    def _part(self, kind: str) -> Part:
        parts = self._open.setdefault(kind, [])
        if not parts or (kind in SPLIT and parts[-1].lines >= PART_LINES):
            if parts:
                parts[-1].close()
            number = len(parts) + 1
            mixed = number % 2 == 0 if kind in SPLIT else kind in COMPRESSED
            compressed = mixed if self._compress == "both" else self._compress
            stem = f"{kind}.{number:04}" if kind in SPLIT else kind
            name = f"{stem}.ndjson.gz" if compressed else f"{stem}.ndjson"
            parts.append(Part(self._target / name, compressed))
        return parts[-1]

    def _manifest(self) -> bytes:
        output = [
            {"type": kind, "url": part.path.name, "count": part.lines}
            for kind, parts in sorted(self._open.items())
            for part in parts
        ]
        manifest = {
            "transactionTime": TRANSACTION_TIME,
            "request": REQUEST,
            "requiresAccessToken": False,
            "output": output,
            "error": [],
        }
        return json.dumps(manifest, indent=2).encode() + b"\n"


def _clear(target: Path) -> None:
    """Remove an earlier demo export; refuse a folder that holds anybody else's NDJSON."""
    present = sorted(path for path in target.iterdir() if ".ndjson" in path.name)
    manifest = target / "manifest.json"
    if present and not (manifest.exists() and REQUEST in manifest.read_text("utf-8")):
        raise ConfigError(
            "the folder holds NDJSON files that the demo hospital did not write",
            where=str(target),
            fix="name an empty folder",
        )
    for path in present:
        path.unlink()
