"""Answers about what a hospital sends over and over: codes, units, printed limits, powers of whole numbers.

For pure functions of frozen values that are nobody's own. The last 4,096 answers of each are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_KEPT = 4096


def remembered(work: Callable[P, T]) -> Callable[P, T]:
    """``functools.lru_cache`` that keeps the types of its arguments, which have to be hashable."""
    return cast(Callable[P, T], lru_cache(maxsize=_KEPT)(work))


def remembered_as_sent(work: Callable[P, T]) -> Callable[P, T]:
    """The same for elements as they were sent: one with a number sent as ``"sNaN"`` has no hash, and is
    worked out anew."""
    kept = remembered(work)

    @wraps(work)
    def answer(*args: P.args, **named: P.kwargs) -> T:
        try:
            return kept(*args, **named)
        except TypeError:
            return work(*args, **named)

    return answer
