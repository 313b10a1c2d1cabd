"""Less coverage never decides: taking completeness away can only move a verdict to unknown.

The people are the protocol's own worked cases, judged and followed with all their records; coverage is taken
away at random: rows removed, marked incomplete, or ended early.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.assurance import check_case
from adapter.model.coverage import Coverage
from adapter.model.decision import Verdict
from adapter.protocol.case_file import load_cases
from adapter.protocol.ladder_load import load_ladders
from adapter.source.crawl import BY_PATIENT
from adapter.trial import open_trial

TRIAL = open_trial()
LADDERS = load_ladders(TRIAL.folder, TRIAL.vocabulary, TRIAL.protocol)
CASES = load_cases(TRIAL.folder / "cases.yaml", TRIAL.protocol.questionnaire)
TYPES = ("Patient", *BY_PATIENT)
ASKED_ON = date(2100, 1, 1)
WHOLE = tuple(Coverage(kind, True, end=ASKED_ON, reason="searched") for kind in TYPES)


def verdicts(number: int, coverage: Iterable[Coverage]) -> dict[str, Verdict]:
    """Every criterion of a case, monitored ones too, with this coverage instead of its own."""
    case = CASES[number]
    report = check_case(TRIAL, msgspec.structs.replace(case, coverage=tuple(coverage)), LADDERS)
    tops = [*report.decision.criteria]
    if watched := report.monitoring:
        tops += [*watched.endpoints, *watched.exits, *watched.doses, *watched.safety, *watched.deviations]
    return {found.id: found.verdict for top in tops for found in top.walk()}


@cache
def whole(number: int) -> dict[str, Verdict]:
    return verdicts(number, WHOLE)


def lessened(row: Coverage, how: str, days: int) -> list[Coverage]:
    if how == "refused":
        return [Coverage(row.resource_type, False, reason="HTTP 403")]
    if how == "contradicted":
        return [row, Coverage(row.resource_type, False, reason="truncated")]
    if how == "ended":
        return [Coverage(row.resource_type, True, end=ASKED_ON - timedelta(days=days), reason="searched")]
    return [] if how == "removed" else [row]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, len(CASES) - 1),
    st.dictionaries(
        st.sampled_from(TYPES), st.sampled_from(["removed", "refused", "ended", "contradicted"]), min_size=1
    ),
    st.integers(28_000, 32_000),
)
def test_less_coverage_never_decides(number: int, lost: dict[str, str], days: int) -> None:
    rows = [new for row in WHOLE for new in lessened(row, lost.get(row.resource_type, ""), days)]
    before, after = whole(number), verdicts(number, rows)
    changed = {one: (before[one], after[one]) for one in before if before[one] is not after[one]}
    assert all(now is Verdict.UNKNOWN for _, now in changed.values()), (CASES[number].name, changed)


def test_coverage_matters_to_some() -> None:
    """Otherwise the property above would hold of nothing."""
    differ = [number for number in range(len(CASES)) if verdicts(number, ()) != whole(number)]
    assert len(differ) >= 3
