"""Every reading in ``docs/INTERPRETATIONS.md`` is held by a case or a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "docs" / "INTERPRETATIONS.md").read_text(encoding="utf-8").splitlines()
ROWS = [line for line in LINES if line.startswith("| ") and not line.startswith(("| Question", "| Sentence"))]
CASE_FILE = ROOT / "mappings" / "protocols" / "NCT03864250" / "cases.yaml"
CASES = set(re.findall(r'^  - case: "?([^"\n]+?)"?$', CASE_FILE.read_text(encoding="utf-8"), re.MULTILINE))
TESTS = {
    name
    for file in ("test_eligibility.py", "test_eligibility_exclusion.py", "test_protocol_engine.py")
    for name in re.findall(r"^def (test_\w+)", (ROOT / "tests/spec" / file).read_text(encoding="utf-8"), re.M)
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:50])
def test_each_reading_is_pinned_by_something_that_exists(row: str) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 4
    assert all(cells), "say what the other readings are, or '-'"
    if cells[3] == "every case":
        return
    for name in expanded(cells[3]):
        assert name in TESTS or name in CASES, name


def expanded(cell: str) -> list[str]:
    """``V10a-e, `name` `` as single names; a range of letters or of numbers stands for what it spans."""
    found = re.findall(r"`([^`]+)`", cell)
    for part in re.sub(r"`[^`]+`", "", cell).split(","):
        part = part.strip()
        if not part:
            continue
        if spanned := re.fullmatch(r"(V\d+)([a-z])-([a-z])", part):
            stem, first, last = spanned.groups()
            found += [f"{stem}{chr(code)}" for code in (ord(first), ord(last))]
        elif re.fullmatch(r"V\d+(-V\d+)?", part):
            for stem in part.split("-"):
                found.append(next((case for case in sorted(CASES) if re.match(rf"{stem}(?!\d)", case)), stem))
        else:
            found.append(part)
    return found
