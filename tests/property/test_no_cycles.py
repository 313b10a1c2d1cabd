"""Judging leaves nothing that only a search for cycles would free: a screening does not search meanwhile."""

from __future__ import annotations

import gc
import re
from datetime import UTC, date, datetime

import pytest

from adapter.demo import hospital
from adapter.model.coverage import Coverage
from adapter.model.resource import RawResource
from adapter.screening.judge import Question, by_subject, judge
from adapter.source.landing import land_folder
from adapter.trial import open_trial

AS_OF = date(2019, 6, 3)
COMPLETE = Coverage("Observation", True)
LOST = Coverage("Observation", False, reason="403")


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> tuple[RawResource, ...]:
    folder = tmp_path_factory.mktemp("hospital")
    made = hospital.generate(folder / "fhir", patients=92)
    landing = land_folder(made.folder, folder / "landing", now=datetime(2019, 6, 3, tzinfo=UTC))
    return tuple(landing.resources())


@pytest.mark.parametrize("coverage", [(), (COMPLETE,), (LOST,)], ids=["unknown", "complete", "lost"])
def test_what_judging_builds_goes_when_its_last_name_does(
    coverage: tuple[Coverage, ...], lines: tuple[RawResource, ...]
) -> None:
    named = (re.match(rb'{"resourceType":"Patient","id":"([^"]+)"', one.line) for one in lines)
    wanted = frozenset(one[1].decode() for one in named if one)
    question = Question(open_trial(), AS_OF, wanted, by_subject(coverage), (), b"")
    judge(lines, (), question)  # what is remembered of the hospital's codes stays
    gc.collect()
    gc.disable()
    try:
        found = judge(lines, (), question)
        assert sum(1 for one in found.people if one.decision) > 50
        del found
        assert gc.collect() == 0
    finally:
        gc.enable()
