"""Where the work of screenings is kept from one to the next, each piece named by what it depends on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from adapter.screening.task import Task
from adapter.source.ranges import Range

FORMAT = "adapter-screening-work/1"


class WorkFolder:
    """The folder beside the workspace's results; what a run did not use is swept at its end."""

    def __init__(self, task: Task) -> None:
        self.folder = task.workspace.root / ".screening-work"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.software = software_sha256()
        self._used: set[Path] = set()

    def path(self, name: str) -> Path:
        """The place of a piece, which is in use from now on."""
        path = self.folder / name
        self._used.add(path)
        return path

    def use(self, *paths: Path) -> None:
        self._used.update(paths)

    def write(self, name: str, data: bytes) -> Path:
        """A piece that is named by its own bytes."""
        path = self.path(f"{name}-{hashlib.sha256(data).hexdigest()[:32]}")
        path.write_bytes(data)
        return path

    def named_by(self, name: str, *parts: str) -> Path:
        """The place of a piece that depends on some texts."""
        return self.path(f"{name}-{sha256(*parts)[:32]}")

    def identity_of(self, piece: Range) -> str:
        """What the bytes of a range are, wherever they lie, and who reads them."""
        return f"{self.software} {piece.file.name} {piece.file.sha256} {piece.start} {piece.end}"

    def sweep(self) -> None:
        """Remove what this run did not use."""
        for path in self.folder.iterdir():
            if path not in self._used:
                path.unlink()


def software_sha256() -> str:
    """Of every module that has a part in a screening: what an older program left is not taken up."""
    root = Path(__file__).parents[2]
    names = ("source", "screening", "mappers", "model", "protocol")
    paths = sorted(path for name in names for path in (root / name).rglob("*.py"))
    return sha256(FORMAT, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths))


def sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()
