"""Strong Kleene logic: true, false and unknown, and no fourth value.

The truth tables are pinned as text in ``tests/spec/test_kleene.py``. Source: S. C. Kleene,
*Introduction to Metamathematics* (1952), section 64; the same tables as SQL's three-valued logic.
"""

from collections.abc import Iterable
from enum import Enum


class Truth(Enum):
    """What is known about a statement on the data at hand."""

    TRUE = "true"
    FALSE = "false"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        """Refuse the silent two-valued reading: ``if truth:`` would turn unknown into false or true."""
        raise TypeError("a Truth has three values; compare it with Truth.TRUE, FALSE or UNKNOWN")

    def __invert__(self) -> "Truth":
        if self is Truth.UNKNOWN:
            return self
        return Truth.FALSE if self is Truth.TRUE else Truth.TRUE

    def __and__(self, other: "Truth") -> "Truth":
        return all_of((self, other))

    def __or__(self, other: "Truth") -> "Truth":
        return any_of((self, other))

    def implies(self, other: "Truth") -> "Truth":
        """``not self or other``: how "not applicable" compiles when self is a guard."""
        return ~self | other

    @classmethod
    def of(cls, value: bool) -> "Truth":
        return cls.TRUE if value else cls.FALSE


def all_of(truths: Iterable[Truth]) -> Truth:
    """AND: false if any is false, else unknown if any is unknown, else true (also when empty)."""
    found = Truth.TRUE
    for truth in truths:
        if truth is Truth.FALSE:
            return truth
        if truth is Truth.UNKNOWN:
            found = truth
    return found


def any_of(truths: Iterable[Truth]) -> Truth:
    """OR: true if any is true, else unknown if any is unknown, else false (also when empty)."""
    found = Truth.FALSE
    for truth in truths:
        if truth is Truth.TRUE:
            return truth
        if truth is Truth.UNKNOWN:
            found = truth
    return found
