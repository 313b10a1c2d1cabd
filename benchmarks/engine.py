"""``python -m benchmarks.engine``: CPU milliseconds a person takes to be mapped, judged and followed.

Over the candidates of the synthetic hospital and, for the last line, its people on the study. ``judge`` is
what a screening does with the lines of one person who is a unit alone. Values that a struct works out of
itself once, and texts that were read before, are forgotten before every round. Beside it, in the same run:
msgspec's typed decode of the same lines, so that the ratios hold where milliseconds do not.
``--profile N`` prints the N functions that took most time of each, by cProfile.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from adapter import mappers, protocol
from adapter.mappers.index import parse_reference
from adapter.model import dates, wire
from adapter.model.facts import Facts
from adapter.model.resource import RawResource
from adapter.protocol.ladder_load import load_ladders
from adapter.screening import enrolment_days
from adapter.screening.judge import Question, by_subject, judge
from adapter.source.landing import open_landing
from adapter.trial import open_trial
from benchmarks.enrolled import DAY, screened
from benchmarks.typed import msgspec_type, shapes

Rows = list[tuple[str, bytes]]
T = TypeVar("T")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=3, help="the one that took least counts (default: 3)")
    parser.add_argument("--profile", type=int, default=0, metavar="N")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        measure(Path(temporary), asked.rounds, asked.profile)
    return 0


def measure(root: Path, rounds: int, profiled: int) -> None:
    trial = open_trial()
    workspace = screened(root, trial)
    landing = open_landing(workspace.landing)
    rules, zone = trial.protocol, trial.site.zone
    ladders = load_ladders(trial.folder, trial.vocabulary, rules)
    sick = frozenset(msgspec.json.decode(line)["subject"] for line in _decisions(workspace.screening))
    rows: Rows = [(one.resource_type, one.line) for one in landing.resources(candidates=sick)]

    def mapped() -> Facts:
        resources = [RawResource(line, "bench:1", kind) for kind, line in rows]
        return mappers.map_resources(
            resources,
            terminology=trial.terminology,
            zone=zone,
            coverage=landing.coverage,
            options=trial.site.options,
        )

    facts = mapped()
    entered = enrolment_days(facts, rules.id, DAY)
    everyone = {name: own for name, own in facts.by_subject().items() if name in sick}
    stored = {name: wire.encode(own) for name, own in everyone.items()}

    def evaluate(people: dict[str, Facts]) -> None:
        for name, own in people.items():
            assessed = entered[name] - timedelta(days=1) if name in entered else DAY
            protocol.evaluate_candidate(rules, own, as_of=DAY, assessed=assessed, zone=zone)

    def follow(people: dict[str, Facts]) -> None:
        for name in entered.keys() & people.keys():
            protocol.monitor(rules, people[name], as_of=DAY, zone=zone, ladders=ladders)

    question = Question(trial, DAY, sick, by_subject(landing.coverage), (), b"")
    own = {name: tuple(landing.resources(candidates=frozenset({name}))) for name in sorted(sick)}

    def units() -> list[list[RawResource]]:
        _forget()
        return [
            [RawResource(one.line, one.where, one.resource_type) for one in lines] for lines in own.values()
        ]

    def judged(people: list[list[RawResource]]) -> None:
        for lines in people:
            judge(lines, (), question)

    def fresh() -> dict[str, Facts]:
        return {name: wire.decode(line, Facts) for name, line in stored.items()}

    print(f"{'':32}{'ms CPU a person':>18}{'x typed decode':>18}")
    decoders = _decoders()
    decode = _least(rounds, _forget, lambda _: typed(rows, decoders), profiled) / len(sick)
    _figure("msgspec, typed decode", decode, decode)
    _figure("map", _least(rounds, _forget, lambda _: mapped(), profiled) / len(sick), decode)
    _figure("evaluate", _least(rounds, fresh, evaluate, profiled) / len(sick), decode)
    _figure("judge: map, evaluate, write", _least(rounds, units, judged, profiled) / len(sick), decode)
    named = [f"Patient/{name}".encode() for name in entered]
    theirs = [row for row in rows if any(name in row[1] for name in named)]
    decode = _least(rounds, _forget, lambda _: typed(theirs, decoders), 0) / len(entered)
    _figure("follow (on the study)", _least(rounds, fresh, follow, profiled) / len(entered), decode)


def _decisions(folder: Path) -> Iterable[bytes]:
    return (folder / "decisions.ndjson").read_bytes().splitlines()


def _forget() -> None:
    """Forget days and references, which differ from person to person; codes and units are the hospital's."""
    dates.parse_date.cache_clear()
    parse_reference.cache_clear()


def _decoders() -> dict[str, msgspec.json.Decoder[object]]:
    """msgspec alone: to structs with Decimals."""
    return {kind: msgspec.json.Decoder(msgspec_type(shape, kind)) for kind, shape in shapes().items()}


def typed(rows: Rows, decoders: Mapping[str, msgspec.json.Decoder[object]]) -> None:
    """Each line decoded; one that no decoder takes counts as read: hospitals are dirty, this one too."""
    for kind, line in rows:
        if kind in decoders:
            try:
                decoders[kind].decode(line)
            except msgspec.MsgspecError:
                continue


def _least(rounds: int, prepare: Callable[[], T], work: Callable[[T], object], profiled: int) -> float:
    """CPU seconds of the round that took least."""
    seconds = []
    for _ in range(rounds):
        ready = prepare()
        started = time.process_time()
        work(ready)
        seconds.append(time.process_time() - started)
    if profiled:
        ready = prepare()
        profile = cProfile.Profile()
        profile.runcall(work, ready)
        pstats.Stats(profile).sort_stats("tottime").print_stats(profiled)
    return min(seconds)


def _figure(name: str, seconds: float, decode: float) -> None:
    print(f"{name:32}{1000 * seconds:18.2f}{seconds / decode:18.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
