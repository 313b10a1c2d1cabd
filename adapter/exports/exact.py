"""Numbers as text, for the files that carry more than a double can."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from adapter.exports.dataset import Cell
from adapter.model.quantity import number_text


def exact_text(cell: Cell) -> str:
    """A cell as text: "" if missing, a number as its exact plain decimal, without exponent.

    A third has no decimal; it is written as the shortest text of the nearest double, which is the number in
    the transport file and in Dataset-JSON too.
    """
    if cell is None or isinstance(cell, str):
        return cell or ""
    text = number_text(Fraction(cell))
    return f"{Decimal(repr(float(cell))):f}" if text.startswith("~") else text
