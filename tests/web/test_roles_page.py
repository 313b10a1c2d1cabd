"""docs/sign-in-and-roles.md shows the matrix that is in force."""

from __future__ import annotations

from pathlib import Path

from adapter.access import MATRIX

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sign-in-and-roles.md"
START, END = (
    "<!-- matrix: written from adapter/access/matrix.yaml, a test compares -->\n",
    "<!-- end of matrix -->",
)
WORDS = {"site": "yes", "dated": "dated", "own-actions": "own actions", "export-log": "export log"}


def table() -> str:
    lines = [f"| | {' | '.join(MATRIX.roles)} |", f"|---|{'---|' * len(MATRIX.roles)}"]
    for name, action in MATRIX.actions.items():
        cells = [WORDS[action.who[role]] if role in action.who else "-" for role in MATRIX.roles]
        lines.append(f"| {action.what.en} (`{name}`) | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_page_shows_the_matrix_in_force() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = page.partition(START)[2].partition(END)[0]
    assert shown == table()


if __name__ == "__main__":  # writes the table again
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    PAGE.write_text(before + START + table() + END + rest.partition(END)[2], encoding="utf-8")
