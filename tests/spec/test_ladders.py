"""The two ladders of NCT03864250 against the worked cases of its rules, read as tables.

Days count from randomisation (2019-06-03). Values, percentages and expected states were worked out by hand
from the exit criteria of the ClinicalTrials.gov record; none comes from running the program.
"""

from __future__ import annotations

from adapter.model.decision import Verdict
from adapter.protocol.ladder import verdict
from tests.spec.ladder_words import climbed, gfr, tablets, told, trough

BASE = (gfr("97.2", -6), tablets("4", 0))
"""The baseline eGFR of case V24, and 4 mg/d from the day of randomisation."""


def test_v24_two_halvings_then_continue() -> None:
    """97.2 -> 66 is a fall of 32.10 %, -> 67 of 31.07 %, -> 69 of 29.01 %."""
    history = (
        *BASE,
        gfr("66", 70),
        tablets("2", 71),
        gfr("67", 84),
        trough("7", 84),
        tablets("1", 85),
        gfr("69", 98),
        trough("6", 98),
    )
    state = climbed("X8", *history, on=98)
    assert told(state) == "S0 -> S1 @70 2 mg/d [UNCONFIRMED]; S1 -> S2 @84 1 mg/d; S2 -> S2C @98"
    assert verdict(state) is Verdict.NOT_MET
    first = state.steps[0]
    assert first.trigger == "fall 97.2 -> 66 = ~32.098765 % > 30 %"
    assert [item.source.reference for item in first.evidence if item.role == "used"] == [
        "Observation/egfr-2019-08-12-66-CKD-EPI 2009",
        "Observation/egfr-2019-05-28-97.2-CKD-EPI 2009",
        "MedicationRequest/tacrolimus-0-4",
    ]


def test_v24_two_halvings_then_stop() -> None:
    """97.2 -> 67.5 is a fall of 30.56 %."""
    history = (
        *BASE,
        gfr("66", 70),
        tablets("2", 71),
        gfr("67", 84),
        trough("7", 84),
        tablets("1", 85),
        gfr("67.5", 98),
        trough("6", 98),
    )
    state = climbed("X8", *history, on=98)
    assert told(state) == "S0 -> S1 @70 2 mg/d [UNCONFIRMED]; S1 -> S2 @84 1 mg/d; S2 -> S3 @98 0 mg/d"
    assert state.terminal
    assert verdict(state) is Verdict.MET
