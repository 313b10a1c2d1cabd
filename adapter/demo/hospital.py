"""The synthetic hospital: Bulk Data NDJSON, and beside it the truth about what was planted.

``generate`` writes the same bytes for the same seed on any machine: there is no clock, no global random
state, and every patient draws from a generator of their own, so that one patient more changes no other.
The truth is written from the plan (``stories``, ``open_questions``, ``refusals``, ``bystanders``,
``courses``), never by evaluating anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec

from adapter.demo.bystanders import BYSTANDERS
from adapter.demo.courses import COMBO, COURSES, MONO, Course, randomised_on, truth_of
from adapter.demo.dirt import soil
from adapter.demo.export import BulkFolder
from adapter.demo.fhir_json import Chart
from adapter.demo.followup import follow
from adapter.demo.open_questions import UNDETERMINED
from adapter.demo.pharmacy import formulary
from adapter.demo.plan import BASE_EXPECT, IETESTCD, LOW_PROTEIN, PROTOCOL, SCREENING_DAY, Story, resolved
from adapter.demo.population import background
from adapter.demo.refusals import INELIGIBLE
from adapter.demo.stories import ELIGIBLE
from adapter.demo.workup import diagnosis, laboratory, visits, work_up

STORIES: tuple[Story, ...] = (*ELIGIBLE, *UNDETERMINED, *INELIGIBLE, *BYSTANDERS)
PLANTED = len(STORIES) + len(COURSES)
FIRST_PLANTED, APART = 7, 19  # planted patients are scattered among the others
DIRT_EACH = 3
TRUNCATED = (
    b'{"resourceType":"Observation","id":"cut-off","status":"final","subject":{"reference":"Patient/%s"},"val'
)

Truth = dict[str, Any]


class Summary(msgspec.Struct, frozen=True):
    """What was written: lines by resource type, files with their sizes in bytes, planted cases."""

    folder: Path
    truth: Path
    patients: int
    planted: int
    resources: dict[str, int]
    files: dict[str, int]
    malformed: int


def generate(
    target: Path,
    *,
    seed: int = 20190603,
    patients: int = 2000,
    gzip: bool | Literal["both"] = "both",
) -> Summary:
    """Write ``target/*.ndjson[.gz]`` with ``manifest.json``, and ``truth.ndjson`` beside ``target``.

    ``patients`` counts persons, planted ones included (a merged person has two Patient resources).
    ``gzip`` compresses all files, none, or some ("both"). Raises ValueError if ``patients`` is too small
    to hold the planted cases. Existing files of the same names are replaced.
    """
    if patients < PLANTED:
        raise ValueError(f"patients must be at least {PLANTED}, the number of planted cases")
    target.mkdir(parents=True, exist_ok=True)
    truths: list[Truth] = []
    with BulkFolder(target, gzip) as folder:
        for shared in (*formulary(), *studies()):
            folder.write(shared)
        for chart, truth in everyone(seed, patients):
            folder.write_chart(chart)
            if truth:
                truths.append(truth)
        folder.write_late()
    truths.extend(folder.noise)
    path = target.parent / "truth.ndjson"
    path.write_bytes(b"".join(msgspec.json.encode(truth) + b"\n" for truth in truths))
    return Summary(
        folder=target,
        truth=path,
        patients=patients,
        planted=PLANTED,
        resources=folder.counts(),
        files=folder.sizes(),
        malformed=len(folder.noise),
    )


def everyone(seed: int, patients: int) -> Iterator[tuple[Chart, Truth | None]]:
    """All charts in order of patient number; planted ones come with their truth."""
    places = {FIRST_PLANTED + APART * place: place for place in range(PLANTED)}
    others = (number for number in range(1, patients + APART * PLANTED) if number not in places)
    ordinary = [next(others) for _ in range(patients - PLANTED)]
    for number in sorted((*places, *ordinary)):
        if number in places:
            yield planted(number, places[number], seed)
        else:
            chart = background(number, seed)
            if number in ordinary[:2]:  # a line that nobody can read leaves what it may be about open
                chart.raw.append(("Observation", TRUNCATED % chart.id.encode()))
            yield chart, None


def planted(number: int, place: int, seed: int) -> tuple[Chart, Truth]:
    if place < len(STORIES):
        return screened(number, place, seed, STORIES[place])
    return enrolled(number, place, seed, COURSES[place - len(STORIES)])


def _born(number: int, seed: int, sex: str) -> str:
    """A birth date well inside 18..80; women are past child-bearing unless their story says otherwise."""
    rng = Random(f"{seed}/birth/{number}")  # noqa: S311  # reproducible data, not a secret
    first = date(1948, 1, 1) if sex == "female" else date(1955, 1, 1)
    return (first + timedelta(days=rng.randrange(5_000 if sex == "female" else 11_000))).isoformat()


def screened(number: int, place: int, seed: int, story: Story) -> tuple[Chart, Truth]:
    """A screening case: the work-up, the story's own scenes, and dirt that changes nothing."""
    chart = Chart(number, seed, story.sex, story.birth or _born(number, seed, story.sex))
    chart.patient()
    labs = {**(LOW_PROTEIN if story.low_protein else {}), **story.labs}
    if story.bare:
        visits(chart, SCREENING_DAY)
        diagnosis(chart, SCREENING_DAY)
        laboratory(chart, SCREENING_DAY, labs)
    else:
        work_up(chart, SCREENING_DAY, labs, story.answers, story.without)
    for scene in story.also:
        scene(chart)
    dirt = [{"type": kind, "expect": expect} for kind, expect in story.dirt.items()]
    if not story.quiet:
        dirt += soil(chart, place, frozenset(story.labs), SCREENING_DAY, DIRT_EACH)
    truth = {
        "patient": chart.id,
        "story": story.name,
        "planted": story.planted,
        "as_of": SCREENING_DAY.isoformat(),
        "overall": story.overall,
        "criteria": story.verdicts(),
        "flags": {IETESTCD[key]: list(flags) for key, flags in story.flags.items()},
        "dirt": dirt,
        "marks": list(story.marks),
        "enrolled": None,
    }
    return chart, truth


def enrolled(number: int, place: int, seed: int, course: Course) -> tuple[Chart, Truth]:
    """An enrolled patient; the screening verdict is that of the day before randomisation."""
    chart = Chart(number, seed, course.sex, course.birth or _born(number, seed, course.sex))
    chart.patient()
    randomised = randomised_on(place - len(STORIES))
    screening = randomised - timedelta(days=1)
    follow(chart, course, randomised)
    truth = {
        "patient": chart.id,
        "story": course.name,
        "planted": course.planted,
        "as_of": screening.isoformat(),
        "overall": "eligible",
        "criteria": resolved({"I3b": course.response.albumin_below_25, "I3c": None}, BASE_EXPECT),
        "flags": {},
        "dirt": soil(chart, place, frozenset({"creatinine", "alt", "glucose"}), screening, DIRT_EACH),
        "enrolled": truth_of(course, randomised),
    }
    return chart, truth


def studies() -> list[dict[str, Any]]:
    """The trial, and another interventional study in which a patient took part."""
    return [
        {
            "resourceType": "ResearchStudy",
            "id": key,
            "meta": {"versionId": "1", "lastUpdated": "2018-01-15T09:00:00+08:00"},
            "identifier": [{"system": "https://clinicaltrials.gov", "value": number}],
            "title": title,
            "status": "active",
            "primaryPurposeType": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/research-study-prim-purp-type",
                        "code": "treatment",
                    }
                ]
            },
            "category": [{"text": "interventional"}],
            "arm": [{"name": arm} for arm in arms],
        }
        for key, number, title, arms in (
            ("study-nct03864250", PROTOCOL, "他克莫司单药与联合泼尼松治疗特发性膜性肾病", (MONO, COMBO)),
            ("study-other-drug", "DEMO-OTHER-001", "另一项干预性药物试验", ("A", "B")),
        )
    ]
