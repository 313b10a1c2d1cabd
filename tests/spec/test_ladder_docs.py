"""``docs/ladders.md`` draws what ``ladders.yaml`` says and explains every word that may stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adapter.protocol.ladder_draw import drawn
from adapter.protocol.ladder_words import all_words
from tests.spec.ladder_words import ladders

PAGE = (Path(__file__).parents[2] / "docs" / "ladders.md").read_text(encoding="utf-8")
_DRAWN = re.compile(r"<!-- drawn: NCT03864250 (\w+) -->\n\n(.*?)\n\n<!-- end -->", re.DOTALL)


def test_every_ladder_is_drawn_as_the_data_say() -> None:
    assert dict(_DRAWN.findall(PAGE)) == {name: drawn(ladder) for name, ladder in ladders().items()}


@pytest.mark.parametrize("word", sorted(all_words() - {"en", "zh", "ladders", "measures"}))
def test_every_word_is_explained(word: str) -> None:
    assert re.search(rf"`[^`]*\b{word}\b[^`]*`", PAGE.partition("## Words")[2]), word
