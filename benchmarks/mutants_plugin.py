"""pytest plugin of :mod:`benchmarks.mutants`: one collection, then a forked child for each mutant."""

from __future__ import annotations

import gc
import json
import linecache
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import mutmut.mutation.trampoline
import pytest
from _pytest.nodes import Node
from _pytest.runner import runtestprotocol
from hypothesis import settings

settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
settings.load_profile("mutants")

# a mutant may take this many times as long as its tests do, and some seconds
PATIENCE, SECONDS = 8, 3
MEMORY = 4 * 2**30
LIKELY = 12

_functions: dict[str, tuple[FunctionType, dict[str, Any]]] = {}


def _remembered(mutants: dict[str, Any], is_classmethod: bool = False) -> Callable[[Any], Any]:
    """Stands for mutmut's trampoline: keeps the function as it is, and remembers where its mutants are."""

    def remember(function: Any) -> Any:
        bare = getattr(function, "__func__", function)
        _functions[f"{bare.__module__}.{bare.__qualname__}"] = (bare, mutants)
        return function

    return remember


def _unworded(*_: object, **__: object) -> str:
    """Nobody reads how a mutant failed, and quoting the source costs ten times the test."""
    return "failed"


mutmut.mutation.trampoline.wrap_in_trampoline = _remembered
Node._repr_failure_py = _unworded  # type: ignore[assignment, method-assign]


def pytest_runtestloop(session: pytest.Session) -> bool:
    if session.testsfailed:
        raise pytest.UsageError("the tests cannot be collected")
    wanted = json.loads(Path("wanted.json").read_text(encoding="utf-8"))
    mutants = json.loads(Path("mutants.json").read_text(encoding="utf-8"))
    kept = Path("results.json")
    results = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if wanted["again"]:
        names = [name for name, found in results.items() if found["end"] not in ("killed", "timeout")]
    else:
        names = [name for name in mutants if name not in results]
    # a third of every module first: a run that is stopped early has seen something of each
    names.sort(key=lambda name: int(sha256(name.encode()).hexdigest(), 16) % 3 != 0)
    run = _Run(session, mutants, wanted["seconds"], fresh=wanted["again"])
    capture = session.config.pluginmanager.getplugin("capturemanager")
    started = time.monotonic()
    for done, (name, found) in enumerate(run.ends(names, wanted["children"]), 1):
        results[name] = found
        if done % 50 == 0 or done == len(names):
            kept.write_text(json.dumps(results, indent=1, ensure_ascii=False), encoding="utf-8")
            with capture.global_and_fixture_disabled():
                print(f"{done} of {len(names)} in {time.monotonic() - started:.0f} s", flush=True)
    return True


class _Run:
    """What is known of tests and mutants while mutants are run."""

    def __init__(self, session: pytest.Session, mutants: dict[str, Any], seconds: float, *, fresh: bool):
        import_module("tests.spec.protocol_words").protocol()  # read once, here, not in every child
        self.items = session.items
        self.mutants = mutants
        self.budget = seconds
        kept = Path("tests.json")
        if fresh or not kept.exists():
            kept.write_text(json.dumps(_looked(session.items)), encoding="utf-8")
        looked = json.loads(kept.read_text(encoding="utf-8"))
        self.reached = [set(lines) for lines, _ in looked]
        self.seconds = [seconds for _, seconds in looked]
        self.order = sorted(range(len(self.items)), key=lambda index: self.seconds[index])
        self.killers: dict[str, list[int]] = {}
        gc.freeze()

    def ends(self, names: list[str], children: int) -> Any:
        """Each mutant's name with how it ended, in the order in which they end."""
        waiting = iter(names)
        running: dict[int, tuple[str, list[int], int]] = {}
        while True:
            while len(running) < children and (name := next(waiting, None)) is not None:
                tests = self.tests(name)
                pid, pipe = self.start(name, tests)
                running[pid] = (name, tests, pipe)
            if not running:
                return
            pid, status = os.wait()
            name, tests, pipe = running.pop(pid)
            told = os.read(pipe, 64)
            os.close(pipe)
            end, killer = _end(status, told)
            if killer is not None:
                self.remember(name, killer)
            by = None if killer is None else self.items[killer].nodeid
            yield name, {"end": end if tests else "no test runs it", "by": by, "tests": len(tests)}

    def tests(self, name: str) -> list[int]:
        """The tests that reach the changed statement: those that killed its neighbours, then the quickest."""
        place = _place(name)
        begin, end = self.mutants[name]["statement"]
        lines = {f"{place}:{line}" for line in range(begin, end + 1)}
        tests = [index for index in self.order if not lines.isdisjoint(self.reached[index])]
        likely = (*self.killers.get(place, ()), *self.killers.get(name.rpartition(".")[0], ())[:LIKELY])
        first = [index for index in dict.fromkeys(likely) if index in tests]
        kept, spent = [], 0.0
        for index in first + [index for index in tests if index not in first]:
            spent += self.seconds[index]
            if kept and self.budget and spent > self.budget:
                break
            kept.append(index)
        return kept

    def remember(self, name: str, killer: int) -> None:
        for key in (_place(name), name.rpartition(".")[0]):
            queue = self.killers.setdefault(key, [])
            if killer in queue:
                queue.remove(killer)
            queue.insert(0, killer)

    def start(self, name: str, tests: list[int]) -> tuple[int, int]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return pid, reading
        ended = 1
        try:
            limit = int(SECONDS + PATIENCE * sum(self.seconds[index] for index in tests))
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            gc.disable()
            _put_in(name)
            failed = next((one for one in tests if not _passes(self.items, one)), None)
            if failed is None:
                ended = 0
            else:
                os.write(writing, str(failed).encode())
        finally:
            os._exit(ended)


def _place(name: str) -> str:
    """``adapter.protocol.days.x_compare_days__mutmut_3``: ``adapter.protocol.days.compare_days``."""
    module, _, mangled = name.partition("__mutmut_")[0].rpartition(".")
    return f"{module}.{mangled[2:] if mangled.startswith('x_') else mangled[2:].replace('ǁ', '.')}"


def _put_in(name: str) -> None:
    function, mutants = _functions[_place(name)]
    mutant = mutants[name.rpartition(".")[2]]
    mutant = getattr(mutant, "__func__", mutant)
    function.__code__ = mutant.__code__
    function.__defaults__, function.__kwdefaults__ = mutant.__defaults__, mutant.__kwdefaults__


def _passes(items: list[pytest.Item], index: int) -> bool:
    return not any(report.failed for report in runtestprotocol(items[index], log=False, nextitem=None))


def _end(status: int, told: bytes) -> tuple[str, int | None]:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        return "timeout", None
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return "survived", None
    return "killed", int(told) if told else None


def _looked(items: list[pytest.Item]) -> list[tuple[list[str], float]]:
    """Without any mutant, in a child: the lines of mutated functions that each test runs, and its seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        told = [_watched(items, index) for index in range(len(items))]
        with os.fdopen(writing, "wb") as out:
            out.write(json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = json.loads(pipe.read() or b"[]")
    os.waitpid(pid, 0)
    failed = [item.nodeid for item, (passed, _, _) in zip(items, told, strict=False) if not passed]
    if not told or failed:
        raise pytest.UsageError(f"tests fail without any mutant: {failed[:5]}")
    if not any(lines for _, lines, _ in told):
        raise pytest.UsageError("no test runs any mutated function: were they imported before this plugin?")
    return [(lines, seconds) for _, lines, seconds in told]


def _watched(items: list[pytest.Item], index: int) -> tuple[bool, list[str], float]:
    heads = _heads()
    ran: set[tuple[str, int]] = set()

    def enter(frame: Any, _event: str, _argument: Any) -> Any:
        if frame.f_code not in heads:
            return None
        place, head = heads[frame.f_code]

        def line(frame: Any, _event: str, _argument: Any) -> Any:
            ran.add((place, frame.f_lineno - head))
            return line

        return line(frame, _event, _argument)

    sys.settrace(enter)
    try:
        passed = _passes(items, index)
    finally:
        sys.settrace(None)
    started = time.process_time()
    passed = _passes(items, index) and passed
    return passed, sorted(f"{place}:{line}" for place, line in ran), time.process_time() - started


@cache
def _heads() -> dict[CodeType, tuple[str, int]]:
    """Each mutated function, and what is nested in it, by its code: its name and the line of its ``def``."""
    found: dict[CodeType, tuple[str, int]] = {}
    for place, (function, _) in _functions.items():
        text = linecache.getlines(function.__code__.co_filename)
        head = function.__code__.co_firstlineno
        while not text[head - 1].lstrip().startswith("def "):
            head += 1
        waiting = [function.__code__]
        while waiting:
            code = waiting.pop()
            found[code] = (place, head)
            waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return found
