"""What a screening in parts is of, and what carries it out: everything that its steps share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from adapter.screening.parallel.pool import Pool
from adapter.screening.parallel.workfolder import WorkFolder
from adapter.screening.task import Task
from adapter.source.landing import Landing
from adapter.source.ranges import Range

T = TypeVar("T")
PASSED = 600e6  # bytes that a core passes over in a second, roughly


class Cut(NamedTuple):
    """How the work is cut: bytes of a range and of a batch's lines. No result depends on it."""

    range: int = 32 * 2**20
    batch: int = 8 * 2**20
    slots: int = 0  # a power of two; as many as suit the number of candidates unless given


class Step(NamedTuple):
    """How far a screening is, for a progress bar: bytes read or to be judged."""

    name: str
    done: int
    of: int


Told = Callable[[Step], None]


class Underway(NamedTuple):
    """One screening: its task, what was landed and how it is cut, where work is kept, and who does it."""

    task: Task
    landing: Landing
    ranges: Sequence[Range]
    cut: Cut
    kept: WorkFolder
    pool: Pool
    told: Told

    def of(self, types: frozenset[str]) -> list[Range]:
        """Ranges of the files that may hold one of the types."""
        names = {file.name for file in self.landing.files(types)}
        return [piece for piece in self.ranges if piece.file.name in names]

    def roll(self, piece: Range) -> Path:
        """Where it stands whom each line of a range names."""
        return self.kept.named_by("roll", self.kept.identity_of(piece))

    def over(
        self,
        name: str,
        pieces: Sequence[Range],
        left: Mapping[int, tuple[Callable[..., T], tuple[Any, ...]]],
        seconds: float,
    ) -> Iterator[tuple[int, T]]:
        """(number, result) of what is left to do of some ranges, told as the bytes of all of them, in so many
        seconds of one core. The largest come first, lest one of them is waited for."""
        total = sum(piece.bytes for piece in pieces)
        rest = sum(pieces[number].bytes for number in left)
        numbers, read = sorted(left, key=lambda number: -pieces[number].bytes), total - rest
        self.told(Step(name, read, total))
        for at, result in self.pool.each(_call, [left[number] for number in numbers], seconds):
            read += pieces[numbers[at]].bytes
            self.told(Step(name, read, total))
            yield numbers[at], result


def _call(step: Callable[..., T], arguments: tuple[Any, ...]) -> T:
    return step(*arguments)
