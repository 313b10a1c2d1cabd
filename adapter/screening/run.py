"""Screening: from landed bytes to a decision for every candidate; only whom a change touches is judged anew.

The as-of day is always one of the things a decision depends on: rules look back from it, so that a verdict
may change by time alone. What is left under ``screening/`` is the same, byte for byte, whether decisions were
reused or not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from adapter.screening.parallel.run import screen_in_parts
from adapter.screening.parallel.underway import Cut, Told
from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.screening.whole import screen_whole
from adapter.source.compressed import SUFFIXES
from adapter.source.landing import Landing, open_landing
from adapter.trial import Trial, Workspace

Progress = Callable[[str], None]
# Starting processes takes seconds, and what is smaller is held in memory and done in as many.
SMALL = 64 * 2**20


def screen(
    trial: Trial,
    workspace: Workspace,
    *,
    as_of: date,
    full: bool = False,
    progress: Progress = lambda _: None,
    workers: int = 0,
    told: Told = lambda _: None,
    cut: Cut | None = None,
) -> Screening:
    """From the landed bytes to a decision for every candidate, left under ``screening/``.

    Answers that people gave on our own pages are read beside what was landed. With ``full`` no former
    decision is reused. A landing of :data:`SMALL` bytes or more, or one for which ``workers`` are asked for,
    is cut by ``cut`` and screened by that many processes (0: all cores), with what is finished kept for the
    next run; ``told`` hears how far it is. The result is the same bytes, however it came to be.
    """
    landing = open_landing(workspace.landing)
    task = Task(trial, workspace, as_of, full)
    if not workers and size_of(landing) < SMALL:
        return screen_whole(task, landing, progress)
    return screen_in_parts(task, landing, progress, workers=workers, told=told, cut=cut)


def size_of(landing: Landing) -> int:
    """Bytes to be read, near enough: compressed files are taken to be ten times what they are stored in."""
    files = landing.manifest.files
    return sum(file.bytes * (10 if file.name.endswith(SUFFIXES) else 1) for file in files)
