"""Hospital lines damaged at random: nothing crashes, the numbers add up, and order never shows.

The lines are those of the demo hospital, so that damage lands in the elements that mappers read. Three kinds:
bits flipped (transport), JSON values replaced, swapped or deleted at random paths (interfaces), and members
repeated (merging gone wrong).
"""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.config import product_folder
from adapter.demo.hospital import PLANTED, everyone
from adapter.demo.pharmacy import formulary
from adapter.mappers import map_resources
from adapter.mappers.terminology import Terminology
from adapter.model import wire
from adapter.model.facts import Facts
from adapter.model.resource import RawResource

TERMINOLOGY = Terminology.load(product_folder("mappings"), "demo")
ZONE = ZoneInfo("Asia/Shanghai")
ENCODER = msgspec.json.Encoder(decimal_format="number")
SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EACH, EVERY = 3, 4  # rows of one type and code that are kept; planted patients that are passed over


def hospital() -> list[bytes]:
    """Lines of planted patients, no more than ``EACH`` of one type and first code, and the formulary."""
    charts = islice((chart for chart, truth in everyone(20190603, PLANTED) if truth), 0, None, EVERY)
    found: list[bytes] = [ENCODER.encode(one) for one in formulary()]
    seen: Counter[tuple[str, str]] = Counter()
    for chart in charts:
        for row in (*chart.rows, *chart.late):
            shape = (row["resourceType"], str(row.get("code", "")))
            seen[shape] += 1
            if seen[shape] <= EACH or row["resourceType"] == "Patient":
                found.append(ENCODER.encode(row))
    return found


LINES = hospital()
SMALL = [line for line in LINES if b'"Patient"' in line[:40]]


def mapped(lines: list[bytes]) -> Facts:
    return map_resources(
        [RawResource(line, "hospital") for line in lines], terminology=TERMINOLOGY, zone=ZONE
    )


def check(lines: list[bytes]) -> Facts:
    facts = mapped(lines)
    assert sum(one.read for one in facts.accounts) == len(lines)
    assert all(one.balanced for one in facts.accounts)
    fatal = sum(one.fatal_for_resource for one in facts.issues)
    assert sum(one.issues for one in facts.accounts) == fatal
    return facts


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items: Any = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in items:
        yield from paths(item, (*path, key))


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


# A Medication belongs to nobody: damage to it may touch everyone whose order refers to it.
LINES_OF_SOMEBODY = [line for line in LINES if b"Patient" in line]
STRANGERS: list[Any] = [
    None, True, 0, -1, 10**22, 1e300, "", " ", "NaN", "<0.15", "25,3", "2024-13-01", "2018-11", "T",
    "9999-12-31T23:59:59-12:00", "\u202e", "=cmd", "Patient/p00007", "#", "urn:uuid:1", "\x00", "µ" * 500,
    [], {}, [[]], [None], {"a": {}},
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, lines: list[bytes] = LINES) -> bytes:
    """One line of the hospital with one to three injuries."""
    line = draw(st.sampled_from(lines))
    kind = draw(st.sampled_from(["bits", "json", "json", "json", "twice"]))
    if kind == "bits":
        hurt = bytearray(line)
        for _ in range(draw(st.integers(1, 3))):
            hurt[draw(st.integers(0, len(hurt) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(hurt).replace(b"\n", b" ")
    if kind == "twice":
        name = draw(st.sampled_from(sorted(msgspec.json.decode(line))))
        return (
            line[:-1]
            + b","
            + ENCODER.encode(name)
            + b":"
            + ENCODER.encode(draw(st.sampled_from(STRANGERS)))
            + b"}"
        )
    resource = msgspec.json.decode(line)
    for _ in range(draw(st.integers(1, 3))):
        places = list(paths(resource))
        if not places:
            break
        path = draw(st.sampled_from(places))
        holder = at(resource, path[:-1])
        match draw(st.sampled_from(["delete", "stranger", "swap", "wrap", "double"])):
            case "delete":
                del holder[path[-1]]
            case "stranger":
                holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(STRANGERS)))
            case "swap":
                holder[path[-1]] = copy.deepcopy(at(resource, draw(st.sampled_from(places))))
            case "wrap":
                holder[path[-1]] = [holder[path[-1]]]
            case _:
                if isinstance(holder, list):
                    holder.append(copy.deepcopy(holder[path[-1]]))
    return ENCODER.encode(resource)


def test_the_hospital_itself_is_read_whole() -> None:
    facts = check(LINES)
    assert len(LINES) > 150
    assert len({one.resource_type for one in facts.accounts}) >= 12
    assert [one for one in facts.issues if one.fatal_for_resource] == []


@SETTINGS
@given(st.lists(damaged(), min_size=1, max_size=15))
def test_no_damage_stops_a_run_or_loses_a_resource(hurt: list[bytes]) -> None:
    check(SMALL + hurt)


@SETTINGS
@given(
    st.lists(st.sampled_from(LINES), max_size=15),
    st.lists(damaged(), max_size=6),
    st.randoms(use_true_random=False),
)
def test_order_of_arrival_never_shows(good: list[bytes], hurt: list[bytes], shuffle: random.Random) -> None:
    lines = [*SMALL, *good, *hurt]
    first = wire.encode(check(lines))
    shuffle.shuffle(lines)
    assert wire.encode(mapped(lines)) == first


@SETTINGS
@given(st.lists(damaged(LINES_OF_SOMEBODY), min_size=1, max_size=6))
def test_damage_to_one_patients_lines_leaves_the_others_alone(hurt: list[bytes]) -> None:
    """A line may only touch the patients it names: everybody else's rows stay as they were."""
    named = {one.id for one in mapped(SMALL).subjects if any(one.id.encode() in line for line in hurt)}
    before, after = BEFORE, mapped([*LINES_OF_OTHERS, *hurt])
    for table in ("findings", "events", "interventions"):
        mine = [row for row in getattr(before, table) if row.subject not in named]
        assert [row for row in getattr(after, table) if row.subject in OTHERS - named] == mine


OTHERS = {msgspec.json.decode(line)["id"] for line in SMALL[:2]}
LINES_OF_OTHERS = [
    line for line in LINES if any(f'Patient/{one}"'.encode() in line for one in OTHERS) or line in SMALL[:2]
]
BEFORE = mapped(LINES_OF_OTHERS)
