"""The population that benchmarks run on: its own account of itself is true."""

from __future__ import annotations

import gzip
import os
import re
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import data, peers
from benchmarks.__main__ import main
from benchmarks.data import Recipe
from benchmarks.screening import screened
from benchmarks.typed import duckdb_type, msgspec_type, spark_type

SMALL = Recipe(patients=60, share=0.1, parts=2)


def lines_of(population: data.Population) -> list[bytes]:
    found: list[bytes] = []
    for path in population.paths():
        raw = path.read_bytes()
        found += (gzip.decompress(raw) if path.suffix == ".gz" else raw).splitlines()
    return sorted(found)


def test_same_recipe_same_bytes(tmp_path: Path) -> None:
    one, other = (data.population(SMALL, tmp_path / name) for name in "ab")
    assert lines_of(one) == lines_of(other)
    assert [path.name for path in one.paths()] == [path.name for path in other.paths()]


@pytest.mark.parametrize(
    "recipe",
    [
        SMALL,
        msgspec.structs.replace(SMALL, parts=0),
        msgspec.structs.replace(SMALL, compression="gzip"),
        msgspec.structs.replace(SMALL, lines=5),
        msgspec.structs.replace(SMALL, share=1.0),
    ],
    ids=lambda recipe: recipe.name,
)
def test_it_holds_what_it_says(recipe: Recipe, tmp_path: Path) -> None:
    made = data.population(recipe, tmp_path)
    lines = lines_of(made)
    resources = [msgspec.json.decode(line) for line in lines]
    assert made.lines == len(lines)
    assert made.bytes == sum(len(line) + 1 for line in lines)
    assert len({(one["resourceType"], one["id"]) for one in resources}) <= len(lines)
    people = [one["id"] for one in resources if one["resourceType"] == "Patient"]
    assert len(people) == len(set(people)) == recipe.patients
    theirs = [
        one
        for one in resources
        if (one["resourceType"] == "Patient" and one["id"] in made.candidates)
        or any(
            f"Patient/{name}" == one.get(key, {}).get("reference")
            for key in ("subject", "patient", "individual")
            for name in made.candidates
        )
    ]
    assert len(theirs) == sum(made.wanted.values())
    assert sum(made.verdicts.values()) == len(made.candidates) == round(recipe.patients * recipe.share)
    if recipe.lines:
        others = (
            made.lines
            - len(theirs)
            - sum(one["resourceType"] in ("Medication", "ResearchStudy") for one in resources)
        )
        assert others == (recipe.patients - len(made.candidates)) * recipe.lines


def test_the_screening_finds_the_planted_verdicts(tmp_path: Path) -> None:
    made = data.population(SMALL, tmp_path)
    found = screened(made, cores=1)
    assert found.verdicts == made.verdicts
    assert found.read == made.lines


def test_one_shape_for_three_readers() -> None:
    shape = {"id": "text", "active": "truth", "name": [{"given": ["text"], "class": {"rank": "number"}}]}
    assert duckdb_type(shape) == (
        'STRUCT("id" VARCHAR, "active" BOOLEAN, '
        '"name" STRUCT("given" VARCHAR[], "class" STRUCT("rank" DOUBLE))[])'
    )
    assert spark_type(shape) == (
        "struct<`id`:string,`active`:boolean,"
        "`name`:array<struct<`given`:array<string>,`class`:struct<`rank`:double>>>>"
    )
    line = b'{"id":"1","name":[{"given":["a",null],"class":{"rank":1.10}}]}'
    read = msgspec.json.decode(line, type=msgspec_type(shape, "Thing"))
    assert (read.id, read.active, str(read.name[0].class_.rank)) == ("1", None, "1.10")


def test_one_line_a_figure_and_a_wrong_row_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["benchmarks", "--patients", "60", "--share", "0.1", "--rounds", "1", "--cache", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*asked, "--only", "screen_vs_scan"])
    before = os.sched_getaffinity(0)
    try:
        assert main() == 0
        assert re.fullmatch(r"screen_vs_scan \d\S*\n", capsys.readouterr().out)
        monkeypatch.setattr(peers, "wc", lambda population, cores: population.lines - 1)
        assert main() == 1
        assert "FAILED: wc -l" in capsys.readouterr().err
    finally:
        os.sched_setaffinity(0, before)
