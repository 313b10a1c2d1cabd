"""Rates, intervals and denominators of the results table.

Expected intervals are printed in publications:
Newcombe RG. Two-sided confidence intervals for the single proportion. Stat Med 1998;17:857-872, table I;
Newcombe RG. Interval estimation for the difference between independent proportions. Stat Med
1998;17:873-890, table II.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.model.decision import CriterionResult, Evidence, Verdict
from adapter.model.facts import Source
from adapter.model.monitoring import Monitoring, VisitState
from adapter.model.results import Outcome
from adapter.protocol.results import clopper_pearson, newcombe, results

AS_OF = date(2020, 6, 1)
DAY_0 = date(2019, 6, 3)

# met, of, Clopper-Pearson limits
SINGLE = """
81  263  0.2527  0.3676
 0   20  0.0000  0.1684
 1   29  0.0009  0.1776
"""
# met, of, met, of, limits of the difference by method 10
DIFFERENCES = """
56  70  48  80   0.0524  0.3339
 9  10   3  10   0.1705  0.8090
 6   7   2   7   0.0582  0.8062
 5  56   0  29  -0.0381  0.1926
 0  10   0  20  -0.1611  0.2775
 0  10   0  10  -0.2775  0.2775
10  10   0  20   0.6791  1.0000
10  10   0  10   0.6075  1.0000
"""


@pytest.mark.parametrize("line", SINGLE.strip().splitlines())
def test_exact_interval_of_one_rate(line: str) -> None:
    met, of, low, high = line.split()
    found = clopper_pearson(int(met), int(of))
    assert (found.low, found.high) == (Decimal(low), Decimal(high))


@pytest.mark.parametrize("line", DIFFERENCES.strip().splitlines())
def test_interval_of_a_difference(line: str) -> None:
    *counts, low, high = line.split()
    found = newcombe(*map(int, counts))
    assert (found.low, found.high) == (Decimal(low), Decimal(high))


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_intervals_hold_the_estimate_and_turn_with_the_arms(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    one, there, back = clopper_pearson(a, n), newcombe(a, n, b, m), newcombe(b, m, a, n)
    slack = Decimal("0.0001")
    assert 0 <= one.low <= Decimal(a) / n + slack
    assert Decimal(a) / n - slack <= one.high <= 1
    assert -1 <= there.low <= Decimal(a) / n - Decimal(b) / m + slack
    assert Decimal(a) / n - Decimal(b) / m - slack <= there.high <= 1
    assert (there.low, there.high) == (-back.high, -back.low)


def endpoint(name: str, verdict: str, *flags: str, reading: str = "u1") -> CriterionResult:
    evidence = (Evidence(Source(f"Observation/{reading}", "2"), "used"),) if verdict != "unknown" else ()
    return CriterionResult(name, "endpoint", Verdict(verdict), "planted", flags, evidence)


def person(subject: str, arm: str, *endpoints: CriterionResult, last_visit: int = 350) -> Monitoring:
    last = DAY_0 + timedelta(days=last_visit)
    visit = VisitState("W48", "week 48", last, last, last, "unknown")
    return Monitoring(
        subject, "NCT1", "1", AS_OF, randomised=DAY_0, arm=arm, endpoints=endpoints, visits=(visit,)
    )


# Two arms, worked out by hand. A: CR, PR, none, missing; B: CR, none, missing whose visit is still to come.
ROWS = (
    person("a1", "A", endpoint("O1", "met"), endpoint("O2", "not_met")),
    person("a2", "A", endpoint("O1", "not_met"), endpoint("O2", "met")),
    person("a3", "A", endpoint("O1", "not_met"), endpoint("O2", "not_met")),
    person("a4", "A", endpoint("O1", "unknown"), endpoint("O2", "unknown")),
    person("b1", "B", endpoint("O1", "met"), endpoint("O2", "not_met")),
    person("b2", "B", endpoint("O1", "not_met"), endpoint("O2", "not_met")),
    person("b3", "B", endpoint("O1", "unknown"), endpoint("O2", "unknown"), last_visit=400),
)
# outcome, arm, population, met, of
RATES = """
O1  A  evaluated  1  3
O1  B  evaluated  1  2
O1  A  itt        1  4
O1  B  itt        1  3
O2  A  evaluated  1  3
O2  B  evaluated  0  2
O2  A  itt        1  4
O2  B  itt        0  3
OR  A  evaluated  2  3
OR  B  evaluated  1  2
OR  A  itt        2  4
OR  B  itt        1  3
"""


def table(*rows: Monitoring, arms: tuple[str, ...] = ("A", "B")) -> dict[str, Outcome]:
    return {one.id: one for one in results(rows, arms=arms, combined={"OR": ("O1", "O2")}).outcomes}


def test_rates_of_both_sets() -> None:
    found = [
        f"{name} {rate.arm} {rate.population} {rate.met} {rate.of}"
        for name, outcome in table(*ROWS).items()
        for rate in outcome.rates
    ]
    assert found == [" ".join(line.split()) for line in RATES.strip().splitlines()]


def test_everyone_randomised_is_counted_once() -> None:
    counts = {one.arm: one for one in table(*ROWS)["O1"].counts}
    assert (counts["A"].randomised, counts["A"].evaluated, counts["A"].missing, counts["A"].open) == (
        4,
        3,
        1,
        0,
    )
    assert (counts["B"].randomised, counts["B"].evaluated, counts["B"].missing, counts["B"].open) == (
        3,
        2,
        1,
        1,
    )


def test_the_difference_is_the_first_arm_less_the_second() -> None:
    evaluated, itt = table(*ROWS)["O2"].differences
    assert (evaluated.arm, evaluated.against, evaluated.difference) == ("A", "B", Decimal("0.3333"))
    assert (itt.population, itt.difference) == ("itt", Decimal("0.2500"))
    turned = table(*ROWS, arms=("B", "A"))["O2"].differences[0]
    assert turned.difference == Decimal("-0.3333")


def test_who_and_on_what_evidence() -> None:
    subjects = {one.subject: one for one in table(*ROWS)["OR"].subjects}
    assert {name: one.standing for name, one in subjects.items()} == {
        "a1": "met",
        "a2": "met",
        "a3": "not_met",
        "a4": "missing",
        "b1": "met",
        "b2": "not_met",
        "b3": "missing",
    }
    assert subjects["a1"].evidence == ("Observation/u1/_history/2",)
    assert (subjects["a4"].open, subjects["b3"].open) == (False, True)


def test_who_cannot_have_the_outcome_leaves_every_denominator() -> None:
    rows = (
        person("a1", "A", endpoint("O3", "met")),
        person("a2", "A", endpoint("O3", "unknown", "NOT_APPLICABLE")),
        person("a3", "A", endpoint("O3", "not_met", "NOT_APPLICABLE")),
        person("a4", "A", endpoint("O3", "unknown")),
    )
    (outcome,) = results(rows, arms=("A",)).outcomes
    assert [(rate.population, rate.met, rate.of) for rate in outcome.rates] == [
        ("evaluated", 1, 1),
        ("itt", 1, 2),
    ]
    assert outcome.counts[0].not_applicable == 2


def test_one_unknown_part_leaves_a_combination_unknown_unless_another_is_met() -> None:
    rows = (
        person("a1", "A", endpoint("O1", "not_met"), endpoint("O2", "unknown")),
        person("a2", "A", endpoint("O1", "met"), endpoint("O2", "unknown")),
    )
    subjects = table(*rows)["OR"].subjects
    assert [one.standing for one in subjects] == ["missing", "met"]


def test_an_arm_without_people_has_no_rate_and_no_difference() -> None:
    outcome = table(ROWS[0])["O1"]
    assert [(rate.of, rate.proportion, rate.interval) for rate in outcome.rates if rate.arm == "B"] == [
        (0, None, None),
        (0, None, None),
    ]
    assert outcome.differences == ()


def test_who_is_not_randomised_yet_is_not_in_the_table() -> None:
    early = Monitoring("x", "NCT1", "1", AS_OF, endpoints=(endpoint("O1", "met"),))
    later = Monitoring("y", "NCT1", "1", AS_OF, randomised=date(2020, 6, 2), endpoints=early.endpoints)
    assert results((early, later)).outcomes == ()


def test_input_order_never_shows() -> None:
    assert results(ROWS) == results(tuple(reversed(ROWS)))


@pytest.mark.parametrize(
    "second", [ROWS[0], Monitoring("z", "NCT2", "1", AS_OF), Monitoring("z", "NCT1", "1", date(2020, 6, 2))]
)
def test_rows_that_make_no_table_are_refused(second: Monitoring) -> None:
    with pytest.raises(ValueError, match="several"):
        results((ROWS[0], second))
