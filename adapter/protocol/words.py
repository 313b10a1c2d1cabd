"""The closed vocabulary: every word a protocol file may use, by the place where it may stand.

The parser takes its allowed words from here and ``docs/protocol-vocabulary.md`` explains each of them;
``tests/spec/test_vocabulary.py`` fails when a word here is not explained there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from adapter.model.course import DoseDirection, DoseTake, ResponseWord
from adapter.model.decision import Overall
from adapter.model.protocol import Severity
from adapter.model.quantity import Comparison
from adapter.model.selection import DateRelation, DrugSelector, Presence, Take

Edge = Literal["start", "end"]
Timing = Literal["overlap", "onset", "end"]
Elapse = Literal["more_than", "at_least", "less_than", "at_most"]
Sex = Literal["male", "female"]

COMPARISONS: tuple[Comparison, ...] = ("above", "at_least", "below", "at_most")
DATE_RELATIONS: tuple[DateRelation, ...] = ("before", "on_or_before", "after", "on_or_after")
ELAPSED: tuple[Elapse, ...] = ("more_than", "at_least", "less_than", "at_most")
PRESENCES: tuple[Presence, ...] = ("present", "past", "unconfirmed", "refuted")
TIMINGS: tuple[Timing, ...] = ("overlap", "onset", "end")
EDGES: tuple[Edge, ...] = ("start", "end")
SELECTORS: tuple[DrugSelector, ...] = ("drug", "role", "class")
SEXES: tuple[Sex, ...] = ("male", "female")
KINDS: tuple[Literal["inclusion", "exclusion"], ...] = ("inclusion", "exclusion")
LIMITS: tuple[Literal["upper_limit", "lower_limit"], ...] = ("upper_limit", "lower_limit")
IF_NONE: tuple[Literal["absent", "absent_if_covered", "unknown"], ...] = (
    "absent",
    "absent_if_covered",
    "unknown",
)
READING_TESTS = (*COMPARISONS, "between", "is", "code", "measured_by", "exists", "words")
ANSWERS = ("positive", "weak_positive", "negative", "equivocal", "invalid")
TAKES: tuple[Take, ...] = (
    "latest",
    "earliest",
    "highest",
    "lowest",
    "nearest",
    "mean",
    "median",
    "every",
    "any",
)
AVERAGES: tuple[Take, ...] = ("mean", "median")
PERIOD = ("within", "from", "to")
SELECTION = (
    "finding",
    "take",
    "near",
    *PERIOD,
    "method",
    "not_during",
    "support",
    "of_at_least",
    "last",
    "timed",
)
EVENT_FILTERS = ("category", "having", "lacking", "narrower")
VERDICTS = ("met", "not_met", "unknown")
BODY = ("met_when", "decide")
RESPONSES: tuple[ResponseWord, ...] = ("complete", "partial", "none", "relapse", "unknown")
DOSE_TAKES: tuple[DoseTake, ...] = ("first", "latest", "highest", "lowest", "total")
DIRECTIONS: tuple[DoseDirection, ...] = ("reduction", "increase", "any")
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high")
OVERALLS = tuple(one.value for one in Overall)
BLOCKS = ("endpoints", "exits", "doses", "safety", "deviations")
VISIT_ANCHORS = ("visit", "visit_first", "visit_last")
_CRITERION = ("id", "kind", "text", "source", *BODY, "flag", "alternatives", "criteria", "pending", "settles")
_MONITORED = tuple(word for word in _CRITERION if word not in ("kind", "pending"))

CONDITIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "all": (),
        "any": (),
        "some": (),
        "not": (),
        "if": ("then",),
        "criterion": ("is",),
        "finding": (*SELECTION[1:], *READING_TESTS),
        "reading": READING_TESTS,
        "attested": (*READING_TESTS, *DATE_RELATIONS),
        "fall": (*COMPARISONS, "reaching"),
        "rise": (*COMPARISONS, "reaching"),
        "repeated": (),
        "share": (),
        "age": (),
        "sex": (),
        "deceased": (),
        "elapsed": (),
        "date": DATE_RELATIONS,
        "event": ("presence", "timing", *PERIOD, *EVENT_FILTERS, "if_none"),
        "exposure": (*PERIOD, "systemic", "kind", "single_day", "other_than", "if_none"),
        "response": ("at",),
        "dose": (*COMPARISONS, "between", "target"),
        "dose_change": (),
        "gap": COMPARISONS,
        "ladder": ("state",),
        "arm": (),
        "eligibility": ("at",),
    }
)
"""Operator -> the modifiers that may stand beside it in the same mapping."""

PLACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "protocol": (
            "id",
            "version",
            "title",
            "source",
            "questionnaire",
            "study",
            "anchors",
            "windows",
            "readings",
            "candidates",
            "criteria",
            "eligibility",
            "reporting",
            "visits",
            "monitoring",
        ),
        "text": ("en", "zh"),
        "study": ("identifier", "enrolment", "arms"),
        "arm": ("code", "title", "aliases"),
        "candidates": ("events", "findings", "drugs", "unless"),
        "eligibility": ("counts",),
        "reporting": ("criteria",),
        "window": ("from", "to"),
        "anchor": (
            "as_of",
            "birth",
            "attested",
            "event",
            "exposure",
            "reading",
            "anchor",
            "first_known",
            "earliest_of",
        ),
        "event anchor": ("event", "take", "edge", "having"),
        "exposure anchor": ("exposure", "take", "edge", *PERIOD),
        "reading anchor": ("reading", *READING_TESTS),
        "reading": SELECTION,
        "not_during": ("event", "presence", "timing", "exposure", "systemic", "margin", "flag"),
        "criterion": _CRITERION,
        "monitored": (*_MONITORED, "visit", "severity"),
        "visits": ("id", "name", "day", "from", "to", "source", "reading"),
        "monitoring": (
            "day_zero",
            "until",
            *BLOCKS,
            "response",
            "due",
        ),
        "response": (*RESPONSES, "because", "source", "alternatives"),
        "response alternative": ("name", "reading", "met_when"),
        "due": ("id", "what", "after", "day", "from", "to", "source", "when", "done_when"),
        "timed": ("after", "between", "approximately", "look_back", "named", "steady"),
        "dose": (*SELECTORS, "take", *PERIOD, "weight", "area"),
        "area": ("height", "weight"),
        "dose take": DOSE_TAKES,
        "target": ("per_kg", "at_most", "tolerance"),
        "dose_change": (*SELECTORS, "direction", *PERIOD),
        "direction": DIRECTIONS,
        "gap": (*SELECTORS, *PERIOD, "hold"),
        "hold": ("ladder", "state"),
        "severity": SEVERITIES,
        "overall": OVERALLS,
        "visit anchor": VISIT_ANCHORS,
        "response at": ("earlier",),
        "line": (*VERDICTS, "flags", "review", "because"),
        "flag": ("name", "when", "review"),
        "alternative": ("name", "reading", *BODY, "review"),
        "change": ("from", "to", "series", "same", "apart"),
        "repeated": (*SELECTION, *READING_TESTS, "readings", "apart", "beside"),
        "beside": ("finding", "method", *READING_TESTS),
        "some": ("at_least", "of"),
        "apart": ("at_least", "at_most"),
        "share": (*SELECTION, *READING_TESTS, "passing", "beside"),
        "passing": COMPARISONS,
        "reaching": COMPARISONS,
        "age": ("at", *COMPARISONS),
        "deceased": ("before",),
        "elapsed": ("since", "until", *ELAPSED),
        "exposure": SELECTORS,
        "take": TAKES,
        "presence": (*PRESENCES, "any"),
        "timing": TIMINGS,
        "edge": EDGES,
        "if_none": IF_NONE,
        "kind": ("order", "dispense", "administration", "statement"),
        "criterion kind": KINDS,
        "answer": ANSWERS,
        "same": ("series",),
        "limit": LIMITS,
        "time unit": ("day", "days", "week", "weeks", "month", "months", "year", "years", "hour", "hours"),
        "sex": SEXES,
    }
)


def all_words() -> frozenset[str]:
    """Every word of the vocabulary, for the documentation test."""
    words = set(CONDITIONS)
    for modifiers in CONDITIONS.values():
        words.update(modifiers)
    for names in PLACES.values():
        words.update(names)
    return frozenset(words)
