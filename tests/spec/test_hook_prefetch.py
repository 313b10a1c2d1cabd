"""What of a prefetch is taken for the patient's, and what is missing. CDS Hooks 2.0, "Prefetch template"."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from adapter.source.nominate import subjects_of
from adapter.web.hooks.prefetch import Gathered

DAY = date(2026, 3, 2)
MINE = {"reference": "Patient/p1"}


def gathered(*entries: bytes) -> Gathered:
    found = Gathered("p1", DAY)
    inside = b",".join(b'{"resource":' + one + b"}" for one in entries)
    found.take_prefetch({"observation": msgspec.Raw(b'{"resourceType":"Bundle","entry":[' + inside + b"]}")})
    return found


def observation(**more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": "o1", **more}


@pytest.mark.parametrize(
    "whose",
    [
        {"subject": MINE},
        {"subject": {"reference": "Patient/p2"}},
        {"subject": {"reference": "Patient/p1/_history/3"}},
        {"subject": {"reference": "https://h.example/fhir/Patient/p1"}},
        {"subject": {"reference": "https://h.example/fhir/Patient/p2"}},
        {"subject": {"reference": "urn:uuid:p1"}},
        {"subject": {"reference": "Group/p1"}},
        {"subject": {"display": "somebody"}},
        {"subject": {"reference": "Patient/p2", "identifier": {"value": "7"}}},
        {"subject": [MINE, {"reference": "Patient/p2"}]},
        {"subject": "Patient/p2"},
        {"subject": MINE, "patient": {"reference": "Patient/p2"}},
        {"patient": {"reference": "Patient/p2"}},
        {"individual": {"reference": "Patient/p2"}},
        {"beneficiary": {"reference": "Patient/p2"}},
        {"subject": {"reference": "#x"}, "contained": [{"resourceType": "Patient", "id": "x"}]},
        {"contained": [{"resourceType": "Group", "id": "x", "subject": {"reference": "Patient/p2"}}]},
        {},
    ],
)
def test_what_says_to_be_somebody_elses_is_left_out_and_nothing_else(whose: dict[str, Any]) -> None:
    one = observation(**whose)
    ids, _ = subjects_of(one)
    line = msgspec.json.encode(one)
    kept = [found.line for found in gathered(line).record().resources]
    assert kept == ([] if ids and "p1" not in ids else [line])


@pytest.mark.parametrize("entry", [b"{}", b"[]", b"7", b'{"resourceType":7}', b'{"resourceType":"Observ'])
def test_an_entry_that_cannot_be_read_is_missing(entry: bytes) -> None:
    assert "Observation" in gathered(entry).missing()


def test_bytes_that_are_no_text_do_not_vanish() -> None:
    """The mappers name what they cannot read; before they do, nothing may be lost without a word."""
    line = b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"},"note":"\xff"}'
    found = gathered(line)
    assert "Observation" in found.missing() or [one.line for one in found.record().resources] == [line]
