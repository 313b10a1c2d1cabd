"""A value that a frozen struct works out of itself once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

Value = TypeVar("Value")


class kept(Generic[Value]):
    """``functools.cached_property`` as it is from Python 3.12 on, without a lock: for pure functions of a
    frozen struct (``dict=True``), which may well be worked out twice."""

    def __init__(self, work: Callable[[Any], Value]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> kept[Value]: ...
    @overload
    def __get__(self, owner: object, kind: type) -> Value: ...
    def __get__(self, owner: object | None, kind: type) -> kept[Value] | Value:
        if owner is None:
            return self
        value = owner.__dict__[self._name] = self._work(owner)
        return value
