"""How far ``adapter screen`` is: a bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from adapter.screening import Step, Told

WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Processes to use; unless given all cores, and small landings are held in memory. Each takes "
        "about 100 MB.",
    ),
]
_SAYS = {
    "studies": "looking for the study",
    "candidates": "looking for candidates",
    "records": "looking for merged records",
    "lines": "reading their records",
    "people": "judging them",
}
Remark = Callable[[str], None]


@contextmanager
def following(console: Console, *, quiet: bool = False) -> Iterator[tuple[Remark, Told]]:
    """Whom a screening tells its remarks and its progress: bytes, rate and time left on a terminal."""
    if quiet:
        yield lambda _: None, lambda _: None
    elif console.is_terminal:
        with _bar(console) as bar:
            yield bar.console.print, _Shown(bar)
    else:
        yield console.print, lambda _: None


def _bar(console: Console) -> Progress:
    """The bar takes what the rest leaves of a line, so that a narrow terminal shows rate and time too."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )


class _Shown:
    """Each step starts the clock anew: its bytes are not those of the step before, and what an earlier run
    left done does not count for the rate."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._name = ""
        self._task: TaskID | None = None

    def __call__(self, step: Step) -> None:
        total = max(1, step.of)
        if self._task is None or step.name != self._name:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._name = step.name
            says = _SAYS.get(step.name, step.name)
            self._task = self._bar.add_task(says, total=total, completed=step.done)
        self._bar.update(self._task, completed=step.done, total=total)
