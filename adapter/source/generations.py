"""How a landing gives way to the next: ``manifest.json`` is the switch, and it is swapped in one step.

The first generation lies in the landing itself, each later one in a folder of its own (``g0002``); the
manifest names the files that stand. A reader sees the old manifest with the old files or the new one with the
new ones. One former generation stays for readers that are still at it; ``history/`` stays for good.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

MANIFEST = "manifest.json"
_FOLDER = re.compile(r"g(\d{4,})")
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of <linux/fcntl.h> and <linux/fs.h>
_ABANDONED = re.compile(r"\.partial-(\d+)$")


def folder_of(generation: int) -> str:
    return f"g{generation:04}"


def next_generation(landing: Path) -> int:
    """The number after every generation that is, or was being, put here."""
    names = (_FOLDER.fullmatch(path.name) for path in landing.iterdir())
    return max((int(match[1]) for match in names if match), default=1) + 1


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step that survives a crash: the old bytes or the new ones, never neither."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(path)


def sweep(landing: Path, in_use: Iterable[str]) -> None:
    """Remove generations that no manifest in use names; ``in_use`` are paths relative to the landing."""
    first = {Path(name).parts[0] for name in in_use if not Path(name).is_absolute()}
    flat = any(not _FOLDER.fullmatch(name) for name in first)
    for path in landing.iterdir():
        if path.name in first:
            continue
        if _FOLDER.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif not flat and path.name.endswith((".ndjson", ".ndjson.gz", ".ndjson.zst", "bulk-manifest.json")):
            path.unlink()


def take_place(draft: Path, folder: Path) -> None:
    """Make a finished folder stand where another may stand: whoever opens it finds one of them whole.

    Where two folders cannot be exchanged in one step, there is none for a moment between two renames.
    """
    if not folder.exists():
        draft.rename(folder)
    elif _exchanged(draft, folder):
        shutil.rmtree(draft, ignore_errors=True)
    else:
        former = draft.with_name(f"{draft.name}.former")
        shutil.rmtree(former, ignore_errors=True)
        folder.rename(former)
        draft.rename(folder)
        shutil.rmtree(former, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step (renameat2(2)); False where the system or the file system cannot."""
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is None:
        return False
    done: int = exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return done == 0


def exchanges(folder: Path) -> bool:
    """Whether folders beside each other in this one can be exchanged in one step."""
    with tempfile.TemporaryDirectory(dir=folder) as one, tempfile.TemporaryDirectory(dir=folder) as other:
        return _exchanged(Path(one), Path(other))


def abandoned(target: Path) -> list[Path]:
    """What killed processes were still writing beside ``target``, by name."""
    found = ((path, _ABANDONED.search(path.name)) for path in target.parent.glob(f".{target.name}.partial-*"))
    return sorted(path for path, match in found if match and not _is_alive(int(match[1])))


def remove_abandoned(target: Path) -> None:
    """Drop :func:`abandoned`."""
    for path in abandoned(target):
        shutil.rmtree(path, ignore_errors=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
