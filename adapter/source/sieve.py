"""Drops, before parsing, the lines that cannot concern a candidate.

A trial wants two hundred of a million patients, and parsing is the cost. A line is dropped only on proof
that it belongs to someone else: it names at least one patient, none of them a candidate, and its own subject
is spelled out as one of those. Everything else stays: lines that name a candidate in any position (absolute
and versioned references included), lines without a subject (Medication, ResearchStudy, Organization ...),
logical references, ``urn:uuid:``, Bundles, escapes that spell a name, lines that do not parse.

Whom a line names does not depend on the candidates (:mod:`adapter.source.patients`): what is told here of one
block at once may as well be kept, and candidates compared later.

:func:`sieve` takes a batch (one block of bytes, or a list of lines) and gives a batch, and knows nothing of
files: a process pool over byte ranges or Spark's ``mapInArrow`` calls the same function.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from adapter.source.patients import Candidates, named_in


class Kept(NamedTuple):
    """One surviving line: its 0-based position within the batch and its bytes, stripped."""

    position: int
    line: bytes


def sieve(batch: bytes | Iterable[bytes], candidates: frozenset[str]) -> list[Kept]:
    """The lines of a batch that may concern a candidate, in order; blank lines are not kept.

    ``batch`` is a block of whole lines or an iterable of lines; ``candidates`` are Patient ids.

    >>> lines = [b'{"subject":{"reference":"Patient/1"}}', b'{"subject":{"reference":"Patient/12"}}']
    >>> [kept.position for kept in sieve(lines, frozenset({"12"}))]
    [1]
    """
    block = batch if isinstance(batch, bytes) else b"\n".join(batch)
    named = named_in(block)
    rows = _compared(candidates).among(named.names)
    numbers, first = np.unique(named.numbers[rows], return_index=True)
    rows = rows[first]
    bounds = zip(numbers.tolist(), named.starts[rows].tolist(), named.ends[rows].tolist(), strict=True)
    return [Kept(number, block[start:end].strip()) for number, start, end in bounds]


_compared = lru_cache(maxsize=4)(Candidates)
