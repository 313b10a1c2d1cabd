"""Whatever arrives, in whatever order: nothing crashes, each resource counts once, and order never shows."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.mappers import MAPPERS, map_resources
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.facts import Facts
from adapter.model.resource import RawResource

TERMINOLOGY = Terminology.load(Path(__file__).parents[2] / "mappings", "demo")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def mapped(lines: list[bytes]) -> Facts:
    resources = [RawResource(line, f"a:{zlib.crc32(line)}") for line in lines]
    return map_resources(resources, terminology=TERMINOLOGY, zone=SHANGHAI)


codes = st.sampled_from(
    ["2889-4", "1751-7", "14682-9", "21482-5", "3167-4", "13362-9", "5196-1", "85354-9", "x"]
)
numbers = st.sampled_from([9, 9.0, 6.8, 412.5, 1940, 24, 0.05, 8010])
units = st.sampled_from(["g/d", "mg/dL", "g/L", "umol/L", "mL", "h", "mg/24h", "", "furlong"])
days = st.sampled_from(
    ["2019-05-28", "2019-05", "2019-05-28T08:00:00+08:00", "2019-05-28T00:00:00Z", "bad", None]
)
statuses = st.sampled_from(["final", "corrected", "preliminary", "entered-in-error", "banana", None])
people = st.sampled_from(["Patient/p", "Patient/q", "Patient/gone", "Group/g", ""])
texts = st.sampled_from(["阴性", "0.05(阳性)", "1:32", "≥8", "", "請結合臨床"])


@st.composite
def observations(draw: st.DrawFn) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "resourceType": "Observation",
        "id": draw(st.sampled_from(["a", "b", "c"])),
        "meta": {"versionId": draw(st.sampled_from(["1", "2", "10"]))},
        "status": draw(statuses),
        "code": {"coding": [{"system": "http://loinc.org", "code": draw(codes)}]},
        "subject": {"reference": draw(people)},
        "effectiveDateTime": draw(days),
        "specimen": draw(st.sampled_from([{"reference": "Specimen/s"}, None])),
    }
    if draw(st.booleans()):
        sent["valueQuantity"] = {"value": draw(numbers), "unit": draw(units)}
    else:
        sent["valueString"] = draw(texts)
    if draw(st.integers(0, 4)) == 0:
        sent["component"] = [{"code": sent["code"], "valueString": draw(texts)}]
    return {name: value for name, value in sent.items() if value is not None}


PEOPLE = [
    {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1967-03-14"},
    {
        "resourceType": "Patient",
        "id": "q",
        "link": [{"other": {"reference": "Patient/p"}, "type": "replaced-by"}],
    },
]
lines = st.one_of(
    observations().map(lambda one: json.dumps(one).encode()),
    observations().map(
        lambda one: json.dumps(
            {"resourceType": "DiagnosticReport", "id": "r", "status": "final", "subject": one["subject"],
             "contained": [one]}
        ).encode()
    ),
    st.sampled_from([b"", b"{", b"[]", b'{"resourceType":"Observation","status":7}', b"\xff"]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lines, max_size=12), st.randoms(use_true_random=False))
def test_order_of_arrival_never_shows(sent: list[bytes], shuffle: random.Random) -> None:
    everything = [json.dumps(one).encode() for one in PEOPLE] + sent
    first = wire.encode(mapped(everything))
    shuffle.shuffle(everything)
    assert wire.encode(mapped(everything)) == first


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lines, max_size=12))
def test_the_numbers_add_up(sent: list[bytes]) -> None:
    found = mapped(sent)
    assert sum(row.read for row in found.accounts) == len(sent)
    assert all(row.balanced for row in found.accounts)
    fatal = sum(one.fatal_for_resource for one in found.issues)
    assert sum(row.issues for row in found.accounts) == fatal


# fmt: off
ELEMENTS = [
    "status", "code", "subject", "patient", "effectiveDateTime", "valueQuantity", "valueString", "component",
    "link", "contained", "referenceRange", "specimen", "dosageInstruction", "medicationReference", "meta",
    "onsetDateTime", "item", "individual", "birthDate", "identifier", "category",
]
PARTS = ["reference", "value", "code", "coding", "text", "system", "start", "end", "unit", "status"]
# fmt: on
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(MAPPERS)), st.dictionaries(st.sampled_from(ELEMENTS), json_values, max_size=5))
def test_no_shape_of_json_stops_a_run(resource_type: str, noise: dict[str, Any]) -> None:
    found = mapped([json.dumps({"resourceType": resource_type, "id": "n", **noise}).encode()])
    assert sum(row.read for row in found.accounts) == 1
    assert all(row.balanced for row in found.accounts)
