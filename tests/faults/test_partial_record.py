"""A page of results that does not come must not let an older one decide who is eligible.

The person is a worked case of the protocol who is eligible with the whole record; only the server fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime

import httpx
import msgspec
import pytest

from adapter import mappers, protocol
from adapter.model.candidates import CandidateQuery
from adapter.model.coverage import Coverage
from adapter.model.decision import Decision, Overall, Verdict
from adapter.model.facts import Facts
from adapter.model.resource import RawResource
from adapter.protocol.case_file import Case, load_cases
from adapter.protocol.case_records import CASE_PATIENT
from adapter.source.client import FhirClient, Patience
from adapter.source.crawl import crawl
from adapter.source.dialects import named
from adapter.trial import open_trial
from tests.fhir_server import BASE, FhirServer

QUICK = Patience(attempts=2, wait_initial=0.001, max_wait=0.01, total=1.0)
TRIAL = open_trial()
CASES = load_cases(TRIAL.folder / "cases.yaml", TRIAL.protocol.questionnaire)


def eligible() -> Case:
    wanted = (case for case in CASES if case.randomised is None and not case.site)
    return next(
        case for case in wanted if ("overall", "eligible") in {(e.target, e.verdict) for e in case.expected}
    )


class Failing(FhirServer):
    """Answers a search of Observations only up to some entry: then ``fault``."""

    def __init__(self, clock: date, last: int, fault: int) -> None:
        super().__init__(datetime(clock.year, clock.month, clock.day, tzinfo=UTC))
        self.last, self.fault = last, fault

    def _search(self, kind: str, params: list[tuple[str, str]]) -> httpx.Response:
        asked = dict(params)
        if kind == "Observation" and "category" in asked:
            params = [(name, value) for name, value in params if name != "category"]
            if asked["category"] != "laboratory":
                params.append(("code", "none-such"))
        if kind != "Observation" or not self.fault or int(asked.get("_page", "0")) < self.last:
            answer = super()._search(kind, params)
            if "category" not in asked:
                return answer
            self_link = f"{BASE}/{kind}?category={asked['category']}&patient={asked.get('patient', '')}"
            body = json.loads(answer.content)
            body["link"] = [{"relation": "self", "url": self_link}, *body["link"][1:]]
            for link in body["link"][1:]:
                link["url"] += f"&category={asked['category']}"
            return self._ok(body)
        return httpx.Response(self.fault)


async def judged(case: Case, *, last: int = 3, fault: int = 0, dialect: str = "") -> tuple[Decision, Facts]:
    server = Failing(case.as_of, last, fault)
    for raw in case.resources:
        server.put(msgspec.json.decode(raw.line))
    brought: list[RawResource] = []

    def sink(kind: str, line: bytes) -> None:
        brought.append(RawResource(line, f"{kind}:{len(brought)}", kind))

    with server.answering():
        async with FhirClient(BASE, patience=QUICK, dialect=named(dialect)) as client:
            report = await crawl(
                client, CandidateQuery(), sink, patients=[CASE_PATIENT], asked_on=case.as_of, concurrency=1
            )
    facts = mappers.map_resources(
        brought,
        terminology=TRIAL.terminology,
        zone=TRIAL.site.zone,
        coverage=report.coverage,
        options=TRIAL.site.options,
    )
    return protocol.evaluate(
        TRIAL.protocol, facts.of(CASE_PATIENT), as_of=case.as_of, zone=TRIAL.site.zone
    ), facts


def verdicts(decision: Decision) -> Mapping[str, Verdict]:
    return {one.id: one.verdict for top in decision.criteria for one in top.walk()}


def observations(coverage: tuple[Coverage, ...]) -> Coverage:
    return next(row for row in coverage if row.resource_type == "Observation")


async def test_the_person_is_eligible_by_the_whole_record() -> None:
    decision, facts = await judged(eligible())
    assert decision.overall is Overall.ELIGIBLE
    assert observations(facts.coverage).complete


@pytest.mark.parametrize("fault", [500, 404, 410, 403], ids=lambda one: f"HTTP {one}")
@pytest.mark.parametrize("last", [3, 6], ids=["second page", "third page"])
async def test_a_failed_page_of_results_makes_nobody_eligible(last: int, fault: int) -> None:
    whole, _ = await judged(eligible())
    decision, facts = await judged(eligible(), last=last, fault=fault)
    row = observations(facts.coverage)
    assert row.lost, row
    assert decision.overall is Overall.UNDETERMINED
    before, after = verdicts(whole), verdicts(decision)
    assert all(after[name] in (before[name], Verdict.UNKNOWN) for name in before)
    partial = [one for top in decision.criteria for one in top.walk() if "PARTIAL_RECORD" in one.flags]
    assert partial
    assert {one.verdict for one in partial} == {Verdict.UNKNOWN}


async def test_what_the_results_at_hand_would_say_is_shown() -> None:
    """Of 404 on the third page the two pages before it stand."""
    decision, _ = await judged(eligible(), last=6, fault=404)
    shown = [
        one
        for top in decision.criteria
        for one in top.walk()
        if any(other.name == "PARTIAL_RECORD" for other in one.alternatives)
    ]
    assert shown
    assert all(one.evidence and any("PAGING_EXPIRED" in need for need in one.settles) for one in shown)


async def test_results_by_category_are_a_scope_and_no_loss() -> None:
    """Epic is asked category by category: all of them came, so the latest of them decides, flagged."""
    decision, facts = await judged(eligible(), dialect="epic")
    row = observations(facts.coverage)
    assert (row.complete, row.limited, row.lost) == (False, True, False)
    assert decision.overall is Overall.ELIGIBLE
    flags = {flag for top in decision.criteria for one in top.walk() for flag in one.flags}
    assert "LIMITED_SCOPE" in flags
    assert "PARTIAL_RECORD" not in flags
