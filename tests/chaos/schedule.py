"""What happens in one schedule, all of it from its seed."""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple

from adapter.writeback.courier import STEPS
from tests.chaos.faults import BULK, FAULTS, OFTEN, Injection, On

Verdict = Literal["eligible", "undetermined", "ineligible"]
KILLS = ("kill before send", "kill after send", "kill before acknowledge")
LOCKED = "database locked throughout"
EDITS = ("screening", "period", "flag taken back", "note touched", "deleted", "recorded by a person")
NOTES = ("List", "Task", "Basic", "Communication", "DocumentReference")
_VERDICTS: tuple[Verdict, ...] = ("eligible", "undetermined", "ineligible")
_CREATED: tuple[Verdict, ...] = ("eligible", "eligible", "undetermined", "ineligible")


class Edit(NamedTuple):
    """A person's change about the ``who``-th person of the schedule."""

    what: str
    who: int

    def __str__(self) -> str:
        return f"person {self.who}: {self.what}"


class Run(NamedTuple):
    """One disturbed run of the adapter. ``steps``: what happens at a step of the courier."""

    injections: tuple[Injection, ...] = ()
    steps: tuple[tuple[str, str], ...] = ()
    locked: str = ""
    meanwhile: Edit | None = None

    def __str__(self) -> str:
        words = [str(one) for one in self.injections]
        words += [f"{what} at {step!r}" for step, what in self.steps]
        words += [self.locked] if self.locked else []
        words += [f"({self.meanwhile} first)"] if self.meanwhile else []
        return "run[" + ", ".join(words) + "]"


class Leave(NamedTuple):
    """A person's word on all that waits for one; killed after the first where ``dies``."""

    verdict: Literal["approved", "rejected"]
    dies: bool = False

    def __str__(self) -> str:
        return f"all {self.verdict}{', killed after the first' * self.dies}"


class Setting(NamedTuple):
    """How the adapter is set up: store, way of signing in, whether a person has to allow what is sent."""

    store: Literal["sqlite", "postgresql"] = "sqlite"
    sign_in: Literal["token", "SMART"] = "token"
    approval: bool = False

    def __str__(self) -> str:
        return f"{self.store} {self.sign_in}{' approval' * self.approval}"


class News(NamedTuple):
    """What is decided about each person now, and what happens until there is other news."""

    verdicts: tuple[Verdict, ...]
    moves: tuple[Run | Edit | Leave, ...]

    def __str__(self) -> str:
        return f"{'/'.join(self.verdicts)}: " + "; ".join(str(one) for one in self.moves)


class Schedule(NamedTuple):
    seed: int
    server: str
    rungs: tuple[str, ...]
    habits: tuple[str, ...]
    news: tuple[News, ...]
    setting: Setting = Setting()

    def __str__(self) -> str:
        rungs = f"rungs={','.join(self.rungs) or '*'}"
        place = " ".join([self.server, str(self.setting), rungs, *self.habits])
        return f"seed {self.seed} {place}\n  " + "\n  ".join(str(one) for one in self.news)


class Reading(NamedTuple):
    """Runs that fetch; with ``sync`` a landing is there and the records changed since, with ``bulk`` a Group
    is exported."""

    seed: int
    server: str
    sync: bool
    runs: tuple[Run, ...]
    setting: Setting = Setting()
    bulk: bool = False

    def __str__(self) -> str:
        what = "bulk export" if self.bulk else "sync" if self.sync else "fetch"
        runs = "; ".join(str(one) for one in self.runs)
        return f"seed {self.seed} {self.server} {self.setting} {what}: {runs}"


class Hearing(NamedTuple):
    """Messages of a subscription; ``deaths`` are where receiver and worker die, run by run."""

    seed: int
    server: str
    events: int
    deaths: tuple[tuple[str, int, str], ...]
    locked: str = ""
    setting: Setting = Setting()

    def __str__(self) -> str:
        said = "; ".join(f"killed {when} message {place}, work {look}" for when, place, look in self.deaths)
        return f"seed {self.seed} {self.setting} {self.events} events: {said} {self.locked}".strip()


Script = Schedule | Reading | Hearing


def hear_schedule(seed: int, server: str) -> Hearing:
    random = Random(f"hearing {seed}")  # noqa: S311 - reproducible, no secret
    deaths = tuple(
        (random.choice(("before", "after")), random.randrange(14), random.choice(("taken", "read", "done")))
        for _ in range(random.choice((1, 2, 3)))
    )
    setting = _setting(seed, server)._replace(sign_in="token", approval=False)
    return Hearing(seed, server, random.randint(4, 10), deaths, random.choice(("", "", LOCKED)), setting)


def _setting(seed: int, server: str) -> Setting:
    random = Random(f"setting {server} {seed}")  # noqa: S311 - reproducible, no secret
    return Setting(
        "postgresql" if random.random() < 0.15 else "sqlite",
        "SMART" if random.random() < 0.3 else "token",
        random.random() < 0.2,
    )


def schedule(seed: int, server: str) -> Script:
    """Of ten, two read, one hears, the others write; of sekmet-fhir's reads most are bulk exports."""
    if seed % 10 == 7:
        return hear_schedule(seed, server)
    return read_schedule(seed, server) if seed % 5 == 0 else write_schedule(seed, server)


def read_schedule(seed: int, server: str) -> Reading:
    random = Random(f"reading {server} {seed}")  # noqa: S311 - reproducible, no secret
    setting = _setting(seed, server)._replace(store="sqlite", approval=False)
    times = range(random.choice((1, 2, 2, 3)))
    if server == "sekmet" and random.random() < 0.7:
        return Reading(seed, server, False, tuple(_exporting(random) for _ in times), setting, bulk=True)
    runs = tuple(_reading(random) for _ in times)
    return Reading(seed, server, random.random() < 0.5, runs, setting)


def _exporting(random: Random) -> Run:
    injections: list[Injection] = []
    for _ in range(random.choice((1, 1, 2, 3))):
        fault = BULK[random.choice(list(BULK))]
        on: On = random.choice(fault.on)
        injections.append(Injection(fault.name, on, random.randint(1, 3), random.choice((1, 1, 2, 9))))
    if random.random() < 0.3:
        injections.insert(0, Injection(random.choice(KILLS), "any", random.randint(1, 8)))
    return Run(tuple(injections))


def _reading(random: Random) -> Run:
    reads = [one for one in FAULTS.values() if one.on != ("write",)]
    injections: list[Injection] = []
    for _ in range(random.choice((1, 1, 2, 3))):
        fault = random.choice(reads)
        on: On = random.choice([one for one in fault.on if one != "write"])
        injections.append(Injection(fault.name, on, random.randint(1, 40), random.choice((1, 1, 2, 3, 60))))
    if random.random() < 0.3:
        injections.insert(0, Injection(random.choice(KILLS), "any", random.randint(1, 40)))
    return Run(tuple(injections))


def write_schedule(seed: int, server: str) -> Schedule:
    """Two or three people, up to three rounds of news; any fault, kill and edit between."""
    random = Random(f"{server} {seed}")  # noqa: S311 - reproducible, no secret
    people, setting = random.choice((2, 2, 3)), _setting(seed, server)
    rungs: tuple[str, ...] = ()
    if random.random() < 0.35:
        # sekmet-fhir announces no List: what is sent there by POST cannot be found again (docs/write-back.md)
        rungs = (random.choice(NOTES[server == "sekmet" :]),)
    habits = tuple(name for name, often in OFTEN.items() if not rungs and random.random() < often)
    news = []
    for number in range(random.choice((1, 2, 2, 3))):
        among = _VERDICTS if number else _CREATED
        verdicts = tuple(random.choice(among) for _ in range(people))
        moves: list[Run | Edit | Leave] = []
        if random.random() < 0.2:
            moves.append(_edit(random, people))
        for _ in range(random.choice((1, 1, 2))):
            moves.append(_run(random, people))
            if setting.approval and random.random() < 0.7:
                verdict: Literal["approved", "rejected"] = random.choice(("approved", "approved", "rejected"))
                moves.append(Leave(verdict, random.random() < 0.2))
            if random.random() < 0.3:
                moves.append(_edit(random, people))
        news.append(News(verdicts, tuple(moves)))
    return Schedule(seed, server, rungs, habits, tuple(news), setting)


def _edit(random: Random, people: int) -> Edit:
    return Edit(random.choice(EDITS), random.randrange(people))


def _run(random: Random, people: int) -> Run:
    injections: list[Injection] = []
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        fault = FAULTS[random.choice(list(FAULTS))]
        on: On = random.choice(fault.on)
        nth = random.randint(1, 3) if on in ("write", "page") else random.randint(1, 9)
        injections.append(Injection(fault.name, on, nth, random.choice((1, 1, 1, 2, 9))))
    if random.random() < 0.35:
        kind: On = random.choice(("any", "write", "write"))
        nth = random.randint(1, 2) if kind == "write" else random.randint(1, 10)
        injections.insert(0, Injection(random.choice(KILLS), kind, nth))
    steps: list[tuple[str, str]] = []
    if random.random() < 0.35:
        steps.append((random.choice(STEPS), "kill"))
    elif random.random() < 0.12:
        steps.append((random.choice(STEPS), "disk full"))
    chance = random.random()
    locked = "database locked" if chance < 0.06 else "database locked throughout" if chance < 0.1 else ""
    first = any(one.fault == "person first" for one in injections)
    meanwhile = Edit(random.choice(EDITS[:4]), random.randrange(people)) if first else None
    return Run(tuple(injections), tuple(steps), locked, meanwhile)
