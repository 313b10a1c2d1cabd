"""``python -m benchmarks.curves_page``: draws what ``benchmarks.curves`` measured, as SVG and as a table.

Writes ``curves.svg`` and ``curves.md`` beside ``curves.csv`` and measures nothing.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.curves import FOLDER, Row, read

WIDTH, HEIGHT, PAD = 300, 200, 44
CPU, WALL, PEAK = "#1f5fa8", "#a8541f", "#3f7f3f"


class Panel(NamedTuple):
    """One drawing: a series by what varies in it, each line with its colour; both scales logarithmic."""

    title: str
    series: str
    across: str
    x: Callable[[Row], float]
    lines: tuple[tuple[str, str, Callable[[Row], float]], ...]


SECONDS = (("CPU s", CPU, lambda row: row.cpu), ("wall s", WALL, lambda row: row.wall))
MEMORY = (("peak MB", PEAK, lambda row: row.peak / 1e6),)
PANELS = (
    Panel("Patients: time", "patients", "patients", lambda row: row.patients, SECONDS),
    Panel("Patients: memory", "patients", "patients", lambda row: row.patients, MEMORY),
    Panel("Candidates: time", "share", "share of patients", lambda row: row.share, SECONDS),
    Panel("Candidates: memory", "share", "share of patients", lambda row: row.share, MEMORY),
    Panel("Files: time", "files", "files", lambda row: row.files, SECONDS),
    Panel("Cores: time", "cores", "cores", lambda row: row.cores, SECONDS),
)


def svg(rows: Sequence[Row]) -> str:
    """All panels, two in a row."""
    height = HEIGHT * math.ceil(len(PANELS) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {height}" role="img" '
        'font-family="sans-serif" font-size="10"><title>Cost of a screening by patients, candidates, files '
        'and cores</title><rect width="100%" height="100%" fill="white"/>'
    ]
    for number, panel in enumerate(PANELS):
        own = [row for row in rows if row.series == panel.series]
        if own:
            left, top = number % 2 * WIDTH, number // 2 * HEIGHT
            parts.append(f'<g transform="translate({left} {top})">{_drawn(panel, own)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _drawn(panel: Panel, rows: Sequence[Row]) -> str:
    across = _Scale([panel.x(row) for row in rows], PAD, WIDTH - 16)
    values = [value(row) for _, _, value in panel.lines for row in rows]
    up = _Scale([*values, min(values) / 2, max(values) * 2], HEIGHT - PAD, 24)
    parts = [
        f'<text x="{PAD}" y="14" font-weight="bold">{panel.title}</text>',
        f'<path d="M{PAD} 24V{HEIGHT - PAD}H{WIDTH - 16}" fill="none" stroke="#999"/>',
        f'<text x="{(WIDTH + PAD) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{panel.across}</text>',
    ]
    for row in rows:
        x = across(panel.x(row))
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - PAD + 14}" text-anchor="middle">{_short(panel.x(row))}</text>'
        )
    for power in range(math.floor(up.low), math.ceil(up.high) + 1):
        if up.low <= power <= up.high:
            y = up(10.0**power)
            parts.append(
                f'<path d="M{PAD} {y:.1f}H{WIDTH - 16}" stroke="#ddd"/>'
                f'<text x="{PAD - 4}" y="{y + 3:.1f}" text-anchor="end">{_short(10.0**power)}</text>'
            )
    for number, (label, colour, value) in enumerate(panel.lines):
        points = " ".join(f"{across(panel.x(row)):.1f},{up(value(row)):.1f}" for row in rows)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [
            f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'
            for x, y in (point.split(",") for point in points.split())
        ]
        parts.append(f'<text x="{WIDTH - 60}" y="{14 + 11 * number}" fill="{colour}">{label}</text>')
    return "".join(parts)


class _Scale:
    """Logarithmic, from values to a stretch of the page."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = math.log10(min(values)), math.log10(max(values))
        self._start, self._length = start, end - start

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return self._start + self._length / 2
        return self._start + (math.log10(value) - self.low) / (self.high - self.low) * self._length


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def table(rows: Sequence[Row]) -> str:
    """One row a point, in Markdown."""
    head = (
        "| series | patients | candidates | files | cores | stored as | MB | CPU s | wall s | MB/s wall "
        "| peak MB | landing, CPU s |\n|---|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|\n"
    )
    return head + "".join(
        f"| {row.series} | {row.patients:,} | {row.candidates:,} | {row.files} | {row.cores} "
        f"| {row.compression} | {row.bytes / 1e6:,.0f} | {row.cpu:.2f} | {row.wall:.2f} "
        f"| {row.bytes / 1e6 / row.wall:,.0f} | {row.peak / 1e6:.0f} | {row.landing_cpu:.2f} |\n"
        for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves_page", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args().folder
    rows = read(folder / "curves.csv")
    (folder / "curves.svg").write_text(svg(rows), encoding="utf-8")
    about = (folder / "machine.txt").read_text(encoding="utf-8")
    (folder / "curves.md").write_text(
        "# Cost of a screening, point by point\n\nWritten by `python -m benchmarks.curves` and "
        "`python -m benchmarks.curves_page`; what it means is in [performance](../performance.md).\n\n"
        f"```\n{about}```\n\n![curves](curves.svg)\n\n{table(rows)}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
