"""The truth tables of strong Kleene logic, as tables."""

from __future__ import annotations

import pytest

from adapter.model.kleene import Truth, all_of, any_of

BY_LETTER = {"T": Truth.TRUE, "F": Truth.FALSE, "?": Truth.UNKNOWN}

TABLES = """
a b | a and b | a or b | a implies b
T T |    T    |   T    |     T
T F |    F    |   T    |     F
T ? |    ?    |   T    |     ?
F T |    F    |   T    |     T
F F |    F    |   F    |     T
F ? |    F    |   ?    |     T
? T |    ?    |   T    |     T
? F |    F    |   ?    |     ?
? ? |    ?    |   ?    |     ?
"""
ROWS = [line.replace("|", " ").split() for line in TABLES.strip().splitlines()[1:]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "".join(row[:2]))
def test_two_values(row: list[str]) -> None:
    left, right, both, either, implied = (BY_LETTER[letter] for letter in row)
    assert (left & right, left | right, left.implies(right)) == (both, either, implied)


@pytest.mark.parametrize(("given", "negated"), ["TF", "FT", "??"])
def test_not(given: str, negated: str) -> None:
    assert ~BY_LETTER[given] is BY_LETTER[negated]


@pytest.mark.parametrize(
    ("parts", "every", "some"),
    [
        ("", "T", "F"),
        ("TTT", "T", "T"),
        ("TT?", "?", "T"),
        ("F?T", "F", "T"),
        ("FF?", "F", "?"),
        ("FFF", "F", "F"),
    ],
)
def test_many_values(parts: str, every: str, some: str) -> None:
    values = [BY_LETTER[letter] for letter in parts]
    assert (all_of(values), any_of(values)) == (BY_LETTER[every], BY_LETTER[some])


@pytest.mark.parametrize("truth", list(Truth))
def test_a_truth_is_never_read_as_a_yes_or_no(truth: Truth) -> None:
    with pytest.raises(TypeError, match="three values"):
        bool(truth)


def test_there_is_no_fourth_value() -> None:
    assert len(Truth) == 3
    assert Truth.of(True) is Truth.TRUE
    assert Truth.of(False) is Truth.FALSE
