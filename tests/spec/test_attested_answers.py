"""What a person attested: which answer counts, and what two of them say; by hand.

Screening is on 2019-06-03.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.spec.protocol_words import Row, said
from tests.spec.test_thresholds import told
from tests.spec.test_why import ruled

COMPLY = "{attested: can-comply, is: true}"
MAY, JUNE = "2019-05-01", "2019-06-01"
ASKED = ("an answer to the question 'can-comply'",)


@pytest.mark.parametrize(
    ("rows", "expected", "settles"),
    [
        ([said("can-comply", "true", MAY)], "met", ()),
        ([said("can-comply", "true", MAY), said("can-comply", "false", JUNE)], "not_met", ()),
        # two of one day contradict each other, two that agree do not
        ([said("can-comply", "true", MAY), said("can-comply", "false", MAY)], "unknown CONFLICT", ASKED),
        (
            [said("can-comply", "true", MAY), replace(said("can-comply", "true", MAY), original="yes")],
            "met",
            (),
        ),
        # what was entered in error, and what was answered after the day asked about, never counts
        (
            [
                said("can-comply", "true", MAY),
                replace(said("can-comply", "false", JUNE), excluded="ENTERED_IN_ERROR"),
            ],
            "met",
            (),
        ),
        ([said("can-comply", "true", MAY), said("can-comply", "false", "2019-06-04")], "met", ()),
        ([said("can-comply", "false", "2019-06-04")], "unknown", ASKED),
        ([replace(said("can-comply", "true", MAY), start=None)], "unknown", ASKED),
    ],
)
def test_which_answer_counts(
    tmp_path: Path, rows: list[Row], expected: str, settles: tuple[str, ...]
) -> None:
    found = ruled(tmp_path, COMPLY, *rows)
    assert (told(found), found.settles) == (expected, settles)


def test_how_far_an_answer_is_from_the_threshold(tmp_path: Path) -> None:
    found = ruled(tmp_path, "{attested: fibrosis-percent, above: 30 %}", said("fibrosis-percent", "40", MAY))
    assert (told(found), found.distance) == ("met", "10 % above")
