"""``python -m benchmarks.live``: one patient from a prefetch to what the protocol says, in process.

Everybody in the demo hospital, each a few times in an order that mixes them: the call's body is decoded, its
resources gathered, whoever may be a candidate is mapped and judged. Nothing is remembered between the calls.
CPU time of the thread beside wall time, since another's load shows in the second alone; beside both, what
decoding the same body with msgspec and sending it once through the standard library's json takes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapter.consult import Consultation, Counsel, consult, counsel
from adapter.demo import hospital
from adapter.trial import open_trial
from adapter.web.hooks.prefetch import Gathered
from adapter.web.hooks.routes import Call
from benchmarks.hooks import NOW, prefetches

DAY = date(2019, 6, 3)
_CALL, _ANY = msgspec.json.Decoder(Call), msgspec.json.Decoder()


class Taken(NamedTuple):
    """Milliseconds."""

    cpu: float
    wall: float


def bodies(folder: Path) -> dict[str, bytes]:
    """The body of a ``patient-view`` of each person."""
    return {
        patient: msgspec.json.encode(
            {
                "hook": "patient-view",
                "hookInstance": str(uuid.UUID(int=number)),
                "context": {"userId": "Practitioner/1", "patientId": patient},
                "prefetch": prefetch,
            }
        )
        for number, (patient, prefetch) in enumerate(sorted(prefetches(folder).items()))
    }


def judged(ready: Counsel, body: bytes) -> Consultation:
    """From the bytes of a call to what is said."""
    call = _CALL.decode(body)
    gathered = Gathered(call.context.patientId, DAY)
    gathered.take_prefetch(call.prefetch or {})
    return consult(ready, gathered.record(), as_of=DAY)


def peer(body: bytes) -> object:
    return json.loads(json.dumps(_ANY.decode(body)))


def taken(work: Callable[[], object]) -> Taken:
    wall, cpu = time.perf_counter(), time.thread_time()
    work()
    return Taken(1000 * (time.thread_time() - cpu), 1000 * (time.perf_counter() - wall))


def at(values: Iterable[float], share: float) -> float:
    found = sorted(values)
    return found[min(len(found) - 1, int(len(found) * share))]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.live", description=__doc__)
    parser.add_argument("--seed", type=int, default=20190603)
    parser.add_argument("--rounds", type=int, default=5, help="calls of each candidate and enrolled person")
    parser.add_argument("--limit", type=float, default=50.0, help="fail if p99 in CPU of these is above (ms)")
    options = parser.parse_args()
    ready = counsel(open_trial())
    with tempfile.TemporaryDirectory(prefix="adapter-bench-") as temporary:
        made = hospital.generate(Path(temporary) / "fhir", seed=options.seed)
        everybody = bodies(made.folder)
    standing = {patient: judged(ready, body).standing for patient, body in everybody.items()}
    calls = [(one, body) for one, body in everybody.items()]
    calls += [one for one in calls if standing[one[0]] != "no candidate"] * (options.rounds - 1)
    gc.collect()
    gc.freeze()  # as the processes that judge for CDS Hooks do
    random.Random(options.seed).shuffle(calls)  # noqa: S311 - an order, no secret
    ours, theirs = defaultdict[str, list[Taken]](list), defaultdict[str, list[Taken]](list)
    sizes = defaultdict[str, list[int]](list)
    for patient, body in calls:
        kind = standing[patient]
        ours[kind].append(taken(lambda body=body: judged(ready, body)))  # type: ignore[misc]
        theirs[kind].append(taken(lambda body=body: peer(body)))  # type: ignore[misc]
        sizes[kind].append(len(body))
    python, cores, busy = sys.version.split()[0], os.cpu_count(), os.getloadavg()[0]
    print(f"{len(everybody)} people of {NOW:%Y-%m-%d}; Python {python}, {cores} cores, load {busy:.1f}")
    print("milliseconds; the peer decodes the same body and sends it once through json")
    columns = ("calls", "KB", "CPU p50", "CPU p99", "wall p50", "wall p99", "peer p50", "x peer")
    print(f"{'':14}{''.join(f'{name:>10}' for name in columns)}")
    worst = 0.0
    for kind in sorted(ours):
        cpu, wall = [one.cpu for one in ours[kind]], [one.wall for one in ours[kind]]
        base = [one.cpu for one in theirs[kind]]
        if kind != "no candidate":
            worst = max(worst, at(cpu, 0.99))
        print(
            f"{kind:14}{len(cpu):10}{sum(sizes[kind]) / len(cpu) / 1000:10.1f}{at(cpu, 0.5):10.2f}"
            f"{at(cpu, 0.99):10.2f}{at(wall, 0.5):10.2f}{at(wall, 0.99):10.2f}{at(base, 0.5):10.2f}"
            f"{sum(cpu) / sum(base):10.1f}"
        )
    return 1 if worst > options.limit else 0


if __name__ == "__main__":
    sys.exit(main())
