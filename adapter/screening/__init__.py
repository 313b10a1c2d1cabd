"""From landed bytes to a decision for every candidate: in memory, or cut by person over many processes.

The steps are pure functions. Whoever holds the lines, be it one process, a pool of them or a cluster, deals
them to people (``deal``), ties those who share evidence (``ties``), judges each unit (``judge``) and joins
the rows (``merge``): the result is the same bytes however the work was cut, in whatever order it was done.
"""

from adapter.screening.judge import Basis, enrolment_days
from adapter.screening.parallel.underway import Cut, Step, Told
from adapter.screening.readfiles import ReadFiles
from adapter.screening.renewed import renewed
from adapter.screening.results import Screening, Summary, read_screening
from adapter.screening.run import Progress, screen
from adapter.screening.task import Task

__all__ = [
    "Basis",
    "Cut",
    "Progress",
    "ReadFiles",
    "Screening",
    "Step",
    "Summary",
    "Task",
    "Told",
    "enrolment_days",
    "read_screening",
    "renewed",
    "screen",
]
