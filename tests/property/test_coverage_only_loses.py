"""Less coverage never decides: taking completeness away can only move a verdict to unknown.

The people are the protocol's own worked cases, judged and followed, and those planted in the demo hospital.
Coverage is taken away at random: rows removed, marked incomplete, or ended early; then records too, with the
coverage that accounts for them. A lost correction of a record that came is not part of this: nothing can
see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from functools import cache

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter import mappers, protocol
from adapter.assurance import check_case
from adapter.demo import hospital
from adapter.demo.hospital import formulary, studies
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision, Overall, Verdict
from adapter.model.resource import RawResource
from adapter.protocol.case_file import Case, load_cases
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
    return verdicts_of(msgspec.structs.replace(CASES[number], coverage=tuple(coverage)))


def verdicts_of(case: Case) -> dict[str, Verdict]:
    report = check_case(TRIAL, case, LADDERS)
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


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
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


# --- records lost with the coverage ----------------------------------------------------------------------


def without(number: int, kind: str, dropped: frozenset[int]) -> Case:
    """A case after some of its resources of a type did not come, and the coverage says so."""
    case = CASES[number]
    mine = [at for at, raw in enumerate(case.resources) if raw.resource_type == kind]
    gone = {mine[one % len(mine)] for one in dropped}
    rows = (row for row in WHOLE if row.resource_type != kind)
    return msgspec.structs.replace(
        case,
        resources=tuple(raw for at, raw in enumerate(case.resources) if at not in gone),
        coverage=(*rows, Coverage(kind, False, reason="PAGING_EXPIRED")),
    )


def kinds_of(number: int) -> list[str]:
    return sorted({raw.resource_type for raw in CASES[number].resources} - {"Patient"})


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.integers(0, len(CASES) - 1), st.frozensets(st.integers(0, 40), min_size=1, max_size=12))
def test_a_lost_record_never_decides(data: st.DataObject, number: int, dropped: frozenset[int]) -> None:
    """Whatever page, line or file is missing and accounted for: toward unknown, or to no verdict at all (who
    is not seen to be on the study is not followed)."""
    if not (kinds := kinds_of(number)):
        return
    case = without(number, data.draw(st.sampled_from(kinds)), dropped)
    before, after = whole(number), verdicts_of(case)
    changed = {
        one: (before[one], after[one]) for one in before if one in after and before[one] is not after[one]
    }
    assert all(now is Verdict.UNKNOWN for _, now in changed.values()), (case.name, changed)


def test_what_no_further_record_can_change_stays() -> None:
    """The property would hold of a rule that is always unknown."""
    kept = []
    for number in range(0, len(CASES), 12):
        for kind in kinds_of(number):
            before, after = whole(number), verdicts_of(without(number, kind, frozenset({0})))
            known = [one for one in after if before.get(one, Verdict.UNKNOWN) is not Verdict.UNKNOWN]
            kept += [after[one] is not Verdict.UNKNOWN for one in known]
    assert sum(kept) > len(kept) / 3


# --- the people of the demo hospital ---------------------------------------------------------------------


@cache
def charts() -> tuple[tuple[str, tuple[RawResource, ...]], ...]:
    shared = [(one["resourceType"], msgspec.json.encode(one)) for one in (*formulary(), *studies())]
    found = []
    for chart, truth in hospital.everyone(20190603, hospital.PLANTED):
        if truth is not None:
            own = [(one["resourceType"], msgspec.json.encode(one)) for one in (*chart.rows, *chart.late)]
            lines = [*shared, *own, *chart.raw]
            raws = tuple(RawResource(line, f"{kind}:{at}", kind) for at, (kind, line) in enumerate(lines))
            found.append((chart.id, raws))
    return tuple(found)


def judged(patient: str, resources: tuple[RawResource, ...], coverage: Iterable[Coverage]) -> Decision | None:
    facts = mappers.map_resources(
        resources,
        terminology=TRIAL.terminology,
        zone=TRIAL.site.zone,
        coverage=tuple(coverage),
        options=TRIAL.site.options,
    )
    subject = next((one.id for one in facts.subjects if patient in (one.id, *one.merged)), None)
    if subject is None:
        return None
    return protocol.evaluate(
        TRIAL.protocol, facts.of(subject), as_of=hospital.SCREENING_DAY, zone=TRIAL.site.zone
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.data(),
    st.integers(0, hospital.PLANTED - 1),
    st.frozensets(st.integers(0, 200), min_size=1, max_size=30),
)
def test_a_lost_record_of_the_demo_hospital_never_decides(
    data: st.DataObject, place: int, dropped: frozenset[int]
) -> None:
    patient, resources = charts()[place]
    kind = data.draw(st.sampled_from(sorted({raw.resource_type for raw in resources} - {"Patient"})))
    mine = [at for at, raw in enumerate(resources) if raw.resource_type == kind]
    gone = {mine[one % len(mine)] for one in dropped}
    rest = tuple(raw for at, raw in enumerate(resources) if at not in gone)
    rows = (
        *(row for row in WHOLE if row.resource_type != kind),
        Coverage(kind, False, reason="FILE_MISSING"),
    )
    before, after = judged(patient, resources, WHOLE), judged(patient, rest, rows)
    if before is None or after is None:
        assert before is after
        return
    now = {one.id: one.verdict for top in after.criteria for one in top.walk()}
    changed = {
        one.id: (kind, one.verdict, now[one.id])
        for top in before.criteria
        for one in top.walk()
        if one.verdict is not now[one.id]
    }
    decided = {name: one for name, one in changed.items() if one[2] is not Verdict.UNKNOWN}
    assert not decided, (patient, decided)
    assert after.overall is not Overall.ELIGIBLE or before.overall is Overall.ELIGIBLE
