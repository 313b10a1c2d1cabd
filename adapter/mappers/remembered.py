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
    """``functools.lru_cache``; what has no hash (a number may be sent as ``"sNaN"``) is worked out anew."""
    kept = cast(Callable[P, T], lru_cache(maxsize=_KEPT)(work))

    @wraps(work)
    def answer(*args: P.args, **named: P.kwargs) -> T:
        try:
            return kept(*args, **named)
        except TypeError:
            return work(*args, **named)

    return answer
