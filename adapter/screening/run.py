"""Screening: from landed bytes to a decision for every candidate; only whom a change touches is judged anew.

The as-of day is always one of the things a decision depends on: rules look back from it, so that a verdict
may change by time alone. What is left under ``screening/`` is the same, byte for byte, whether decisions were
reused or not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from adapter.screening.results import Screening
from adapter.screening.task import Task
from adapter.screening.whole import screen_whole
from adapter.source.landing import open_landing
from adapter.trial import Trial, Workspace

Progress = Callable[[str], None]


def screen(
    trial: Trial,
    workspace: Workspace,
    *,
    as_of: date,
    full: bool = False,
    progress: Progress = lambda _: None,
) -> Screening:
    """From the landed bytes to a decision for every candidate, left under ``screening/``.

    Answers that people gave on our own pages are read beside what was landed. With ``full`` no former
    decision is reused; the result is the same bytes.
    """
    landing = open_landing(workspace.landing)
    return screen_whole(Task(trial, workspace, as_of, full), landing, progress)
