"""Whether a downloaded file is the whole file: judged before it counts as downloaded.

A connection that ends early may look like a good answer: httpx takes a body without Content-Length as whole.
So the lines are counted against the manifest, the last line has to be a resource, a gzip stream has to end
with its checksum, and where nothing told the end of the file a second download has to agree.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from adapter.source.ndjson import Limits, NdjsonFile, lines_in, numbered_lines, type_of

GZIP = b"\x1f\x8b"


class Verdict(msgspec.Struct, frozen=True):
    """``wrong`` is "" for a good file; ``useless`` says that nothing of it may be kept (a login page)."""

    lines: int
    sha256: str
    gzipped: bool
    wrong: str = ""
    useless: bool = False
    certain: bool = True


def verify(path: Path, key: str, count: int | None, *, framed: bool, limits: Limits | None = None) -> Verdict:
    """Read the file once; raises SourceUntrustworthy over a limit (gzip bomb, endless line)."""
    with path.open("rb") as stream:
        gzipped = stream.read(2) == GZIP
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    file = NdjsonFile(path, limits, name=key + (".gz" if gzipped else ""))
    lines, first, last, ended = 0, b"", b"", True
    for block in file.blocks():
        lines += lines_in(block.data)
        found = [line for _, line in numbered_lines(block)] if not first else []
        first = first or (found[0] if found else b"")
        tail = block.data.rstrip()
        if tail:
            last = tail[tail.rfind(b"\n") + 1 :]
        ended = block.data.endswith(b"\n")
    issues = [issue.code for issue in file.issues]
    wrong = ", ".join(issues)
    if first and not first.startswith(b"{"):
        return Verdict(lines, digest, gzipped, "not NDJSON: this is often a login page", useless=True)
    if last and not type_of(last):
        wrong = wrong or "the last line is cut off"
    elif count is not None and lines != count:
        wrong = wrong or f"{lines} lines, the manifest says {count}"
    told = framed or gzipped or count is not None
    return Verdict(lines, digest, gzipped, wrong, certain=told and (ended or count is not None or framed))
