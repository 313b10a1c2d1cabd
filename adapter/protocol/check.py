"""Design-time checks: a protocol that loads may still say what nobody meant.

Each check is a small function from a protocol to remarks, listed in :data:`CHECKS` with its code. Those in
:data:`STRUCTURE` make a protocol unusable and are run by the loader; the others are for the author.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from types import MappingProxyType

import msgspec

from adapter.model.decision import Verdict
from adapter.model.nodes import Moment, Node, Period, descend, meaning, same_meaning
from adapter.model.protocol import Criterion, Line, Protocol, Vocabulary
from adapter.model.rules import AllOf, AnyOf, Condition, CriterionIs, EventDay, Not, ReadingIs
from adapter.model.selection import Amount, Bounds, EventTest, Selection

MAX_ID = 8
"""SDTM IETESTCD holds at most 8 characters (SDTMIG, variable naming)."""


class Remark(msgspec.Struct, frozen=True):
    """Something an author should look at: where it stands, what it is and how to mend it."""

    code: str
    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.code} {self.message}" + (f"\n  fix: {self.fix}" if self.fix else "")


Check = Callable[[Protocol, Vocabulary], Iterator[Remark]]


def check(protocol: Protocol, vocabulary: Vocabulary) -> tuple[Remark, ...]:
    """Every remark on the protocol, in the order of :data:`CHECKS`."""
    return tuple(remark for run in CHECKS.values() for remark in run(protocol, vocabulary))


def check_structure(protocol: Protocol) -> tuple[Remark, ...]:
    """The remarks that make a protocol impossible to evaluate or to report."""
    nothing = Vocabulary(concepts={})
    return tuple(remark for code in STRUCTURE for remark in CHECKS[code](protocol, nothing))


def _duplicate_ids(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    seen: set[str] = set()
    for criterion in protocol.walk():
        if criterion.id in seen:
            message = f"criterion {criterion.id} is there twice"
            yield Remark("DUPLICATE_ID", criterion.where, message, "give one of them another id")
        seen.add(criterion.id)


def _long_ids(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for criterion in protocol.walk():
        if not 0 < len(criterion.id) <= MAX_ID:
            message = f"id {criterion.id!r} does not fit IETESTCD"
            yield Remark("ID_LENGTH", criterion.where, message, f"1 to {MAX_ID} characters")


def _cycles(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    criteria = {criterion.id: criterion for criterion in protocol.walk()}
    links = {
        name: {node.id for node in descend(_body(found)) if isinstance(node, CriterionIs)}
        | {child.id for child in found.criteria}
        for name, found in criteria.items()
    }
    for name in _on_cycles(links):
        message = f"criterion {name} depends on itself"
        yield Remark("CYCLE", criteria[name].where, message, "a verdict cannot rest on itself")
    anchors = {named.name: named for named in protocol.anchors}
    days = {name: _anchors_in(found.rule) for name, found in anchors.items()}
    for name in _on_cycles(days):
        yield Remark("CYCLE", anchors[name].where, f"anchor {name} depends on itself", "start from a date")


def _body(criterion: Criterion) -> tuple[Node, ...]:
    return (*criterion.lines, *criterion.flags, *criterion.alternatives)


def _anchors_in(node: Node) -> set[str]:
    return {part.anchor for part in descend(node) if isinstance(part, Moment) and part.anchor}


def _on_cycles(links: Mapping[str, set[str]]) -> list[str]:
    """The names from which one can come back to the same name."""

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        todo = [*links.get(start, ())]
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += links.get(name, ())
        return found

    return [name for name in links if name in reachable(name)]


def _unused(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    used: Counter[tuple[str, str]] = Counter()
    for node in descend(protocol):
        if isinstance(node, Moment) and node.anchor:
            used["anchor", node.anchor] += 1
        elif isinstance(node, Period) and node.window:
            used["window", node.window] += 1
        elif isinstance(node, Selection) and node.name:
            used["reading", node.name] += 1
        elif isinstance(node, Amount) and node.reading:
            used["reading", node.reading] += 1
    for kind, names in (
        ("anchor", protocol.anchors),
        ("window", protocol.windows),
        ("reading", protocol.readings),
    ):
        for named in names:
            if not used[kind, named.name]:
                message = f"{kind} {named.name!r} is never used"
                yield Remark("UNUSED", named.where, message, "use it or take it out")


def _contradictions(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    """No number is above 8 and below 5."""
    for node in descend(protocol):
        for tests in _same_selection(node):
            low, low_strict = _extreme(tests, ("above", "at_least"))
            high, high_strict = _extreme(tests, ("below", "at_most"))
            if low is None or high is None:
                continue
            if low > high or (low == high and (low_strict or high_strict)):
                message = "no number passes both thresholds"
                yield Remark("CONTRADICTION", node.where, message, "use any: or correct a threshold")


def _same_selection(node: Node) -> Iterator[list[Bounds]]:
    if isinstance(node, ReadingIs) and isinstance(node.test, Bounds):
        yield [node.test]
    if isinstance(node, AllOf):
        groups: dict[object, list[Bounds]] = {}
        for part in node.parts:
            if not isinstance(part, ReadingIs) or part.selection.take == "any":
                continue
            if isinstance(part.test, Bounds):
                groups.setdefault(meaning(part.selection), []).append(part.test)
        yield from (tests for tests in groups.values() if len(tests) > 1)


def _extreme(tests: Iterable[Bounds], words: tuple[str, str]) -> tuple[Fraction | None, bool]:
    """The tightest of the lower (or upper) thresholds, and whether it is strict."""
    found = [
        (bound.amount.value, bound.comparison == words[0])
        for test in tests
        for bound in test.bounds
        if bound.comparison in words and not bound.amount.of
    ]
    if not found:
        return None, False
    return max(found) if words[0] == "above" else min(found, key=lambda pair: (pair[0], not pair[1]))


def _implausible(protocol: Protocol, vocabulary: Vocabulary) -> Iterator[Remark]:
    for node in descend(protocol):
        if not isinstance(node, ReadingIs) or not isinstance(node.test, Bounds):
            continue
        concept = vocabulary.concepts.get(node.selection.concepts[0])
        for bound in node.test.bounds:
            value = bound.amount.value
            if concept is None or bound.amount.of or not value:
                continue
            too_low = concept.low is not None and value < concept.low
            if too_low or (concept.high is not None and value > concept.high):
                message = f"{bound.amount.text} is outside what {concept.key} can be"
                yield Remark("IMPLAUSIBLE", bound.where, message, "check the number and its unit")


def _backward_windows(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for node in descend(protocol):
        if not isinstance(node, Period) or node.start is None or node.end is None:
            continue
        start, end = node.start, node.end
        if not _surely_later(start, end):
            continue
        message = f"starts ({start}) after it ends ({end})"
        yield Remark("WINDOW_BACKWARD", start.where, message, "swap from: and to:")


def _surely_later(start: Moment, end: Moment) -> bool:
    """Whether ``start`` lies after ``end`` for every subject; only moments on one base can be compared."""
    if (start.anchor, start.day) != (end.anchor, end.day):
        unmoved = not start.shift and not end.shift
        return start.day is not None and end.day is not None and unmoved and start.day > end.day
    if start.unit == end.unit or 0 in (start.shift, end.shift):
        return start.shift > end.shift
    return start.shift > 0 > end.shift


def _unreachable(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for criterion in protocol.walk():
        for lines in (criterion.lines, *(other.lines for other in criterion.alternatives)):
            yield from _unreachable_lines(lines)


def _unreachable_lines(lines: tuple[Line, ...]) -> Iterator[Remark]:
    for here, line in enumerate(lines):
        earlier = lines[:here]
        if any(same_meaning(line.when, before.when) for before in earlier):
            message = "the same condition stands in a line above"
            yield Remark("UNREACHABLE", line.where, message, "take the line out")
        elif any(_always(before.when) for before in earlier):
            message = "a line above covers everything that is known"
            yield Remark("UNREACHABLE", line.where, message, "move the line up")


def _always(condition: Condition) -> bool:
    """``any: [c, not: c]`` is true of everything that is known."""
    if not isinstance(condition, AnyOf):
        return False
    opposites = [part.part for part in condition.parts if isinstance(part, Not)]
    return any(same_meaning(part, opposite) for part in condition.parts for opposite in opposites)


def _undocumented(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for criterion in protocol.walk():
        for name, value in (("text", criterion.text), ("source", criterion.source)):
            if not value:
                message = f"criterion {criterion.id} has no {name}"
                yield Remark("UNDOCUMENTED", criterion.where, message, f"add {name}: from the protocol")


def _one_sided(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for criterion in protocol.walk():
        verdicts = {line.verdict for line in criterion.lines}
        for missing in {Verdict.MET, Verdict.NOT_MET} - verdicts:
            message = f"criterion {criterion.id} can never be {missing.value.replace('_', ' ')}"
            fix = "add a line with the evidence that would say so"
            yield Remark("ONE_SIDED", criterion.where, message, fix)


def _unavailable(protocol: Protocol, vocabulary: Vocabulary) -> Iterator[Remark]:
    for node in descend(protocol):
        if isinstance(node, Selection | EventTest | EventDay):
            known = [vocabulary.concepts[name] for name in node.concepts if name in vocabulary.concepts]
            if known and not any(concept.decides for concept in known):
                message = f"no verified code gives {node.concepts[0]}, so this is never known from records"
                yield Remark("UNAVAILABLE", node.where, message, "verify a code or ask a person")


def _idle_alternatives(protocol: Protocol, _: Vocabulary) -> Iterator[Remark]:
    for criterion in protocol.walk():
        for other in criterion.alternatives:
            if same_meaning(_rule(other.lines), _rule(criterion.lines)):
                message = f"alternative {other.name!r} says the same as the default"
                yield Remark("SAME_READING", other.where, message, "take it out or correct it")


def _rule(lines: tuple[Line, ...]) -> tuple[object, ...]:
    return tuple((line.verdict.value, meaning(line.when)) for line in lines)


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "DUPLICATE_ID": _duplicate_ids,
        "ID_LENGTH": _long_ids,
        "CYCLE": _cycles,
        "UNUSED": _unused,
        "CONTRADICTION": _contradictions,
        "IMPLAUSIBLE": _implausible,
        "WINDOW_BACKWARD": _backward_windows,
        "UNREACHABLE": _unreachable,
        "UNDOCUMENTED": _undocumented,
        "ONE_SIDED": _one_sided,
        "UNAVAILABLE": _unavailable,
        "SAME_READING": _idle_alternatives,
    }
)
STRUCTURE = ("DUPLICATE_ID", "ID_LENGTH", "CYCLE")
