"""A property written twice is found however the line is written, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapter.mappers.soundness import unsound

# What a count of quotes and colons might trip over.
_TEXTS = st.sampled_from(["a", "b", "", ":", ":a", "a:", '"', '":', " ", " :", "\\", "\\:", "é", "\n"])
_LEAVES = st.one_of(_TEXTS, st.integers(-3, 3), st.booleans(), st.none())
_Pairs = list[tuple[str, Any]]


class _Object(list[tuple[str, Any]]):
    """Properties in order, doubles included."""


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(_TEXTS, inner), max_size=4).map(_Object)


_TREES = _objects(
    st.recursive(
        _LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), _objects(inner)), max_leaves=12
    )
)


def _written(tree: Any, gap: str, ascii_only: bool) -> str:
    if isinstance(tree, _Object):
        parts = (
            f"{json.dumps(name, ensure_ascii=ascii_only)}{gap}:{gap}{_written(value, gap, ascii_only)}"
            for name, value in tree
        )
        return "{" + gap + f",{gap}".join(parts) + gap + "}"
    if isinstance(tree, list):
        return "[" + ",".join(_written(value, gap, ascii_only) for value in tree) + "]"
    return json.dumps(tree, ensure_ascii=ascii_only)


def _doubled(tree: Any) -> bool:
    if isinstance(tree, _Object):
        names = [name for name, _ in tree]
        return len(set(names)) < len(names) or any(_doubled(value) for _, value in tree)
    return isinstance(tree, list) and any(_doubled(value) for value in tree)


@given(tree=_TREES, gap=st.sampled_from(["", " ", "\n", "\t"]), ascii_only=st.booleans())
def test_what_is_written_twice_is_not_believed(tree: _Object, gap: str, ascii_only: bool) -> None:
    found = unsound(_written(tree, gap, ascii_only).encode())
    assert (found is not None and found.code == "DUPLICATE_KEY") is _doubled(tree)
