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
def following(console: Console) -> Iterator[tuple[Remark, Told]]:
    """Whom a screening tells its remarks and its progress: bytes, rate and time left on a terminal."""
    if not console.is_terminal:
        yield console.print, lambda _: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        shown = ""

        def told(step: Step) -> None:
            """Each step starts the clock anew: its bytes are not those of the step before, and what an
            earlier run left done does not count for the rate."""
            nonlocal task, shown
            if step.name != shown:
                shown = step.name
                bar.remove_task(task)
                says = _SAYS.get(step.name, step.name)
                task = bar.add_task(says, total=max(1, step.of), completed=step.done)
            bar.update(task, completed=step.done, total=max(1, step.of))

        yield bar.console.print, told
