"""A file nested so deep that reading it would run out of stack is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.errors import AdapterError
from adapter.exports.located import read_located
from adapter.mappers.terminology.files import read_yaml
from adapter.protocol.case_file import load_cases
from adapter.protocol.tree import read_tree

DEEP = "a: 1\nb: " + "[" * 5000 + "]" * 5000 + "\n"


@pytest.mark.parametrize(
    "read",
    [read_tree, read_located, lambda path: read_yaml(path, path.parent), lambda path: load_cases(path, "")],
)
def test_deep_nesting_is_refused_where_it_stands(tmp_path: Path, read: object) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text(DEEP)
    assert callable(read)
    with pytest.raises(AdapterError, match="nested more than 100 deep") as refused:
        read(path)
    assert "deep.yaml:2" in str(refused.value)


def test_a_hundred_levels_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 99 + "]" * 99 + "\n")
    assert read_tree(path).fields()["a"].is_list
