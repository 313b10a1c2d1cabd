"""The closed vocabulary of ``ladders.yaml``, by the place where a word may stand.

``docs/ladders.md`` explains each of them; ``tests/spec/test_ladder_docs.py`` fails when one is not explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.model.ladder import DoseChange, Late, MeasureKind, Timing, Worst
from adapter.protocol.words import COMPARISONS, LIMITS, SELECTORS

MEASURES: tuple[MeasureKind, ...] = ("fall", "rise", "multiple", "level")
TIMINGS: tuple[Timing, ...] = ("review", "any")
DOSE_CHANGES: tuple[DoseChange, ...] = ("hold", "stop")
LATE: tuple[Late, ...] = ("decides", "waits")
WORST: tuple[Worst, ...] = ("highest", "lowest")
SELECTION = ("finding", "within", "from", "to", "method", "not_during")

PLACES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "ladders": ("measures", "ladders"),
        "measure": (*MEASURES, "against", "series", "of", "worst"),
        "readings": SELECTION,
        "baseline": (*SELECTION, "take", "near", "flags"),
        "baseline take": ("latest", "earliest", "nearest", "highest", "lowest"),
        "ladder": (
            "id",
            "criterion",
            "text",
            "source",
            "when",
            "start",
            "measure",
            "dose",
            "beside",
            "turnaround",
            "alerts",
            "states",
            "alternatives",
        ),
        "dose": ("drug", "unit", "minimum", "maximum"),
        "beside": ("reading", *SELECTION, "look_back", "missing", *COMPARISONS, "flag"),
        "alert": ("name", "measure", "in", *COMPARISONS),
        "state": (
            "id",
            "name",
            "action",
            "dose",
            "days",
            "review",
            "overdue",
            "otherwise",
            "next",
            "terminal",
        ),
        "dose step": ("factor", "daily"),
        "dose word": DOSE_CHANGES,
        "day": ("attested", "exposure", "or_entry"),
        "exposure": SELECTORS,
        "review": ("after", "from", "to", "counted_from"),
        "overdue": ("flag", "late", "late_flag"),
        "late": LATE,
        "otherwise": ("flags", "settles"),
        "next": ("to", "after", *COMPARISONS, "risen", "since", "again_within", "again_after", "at", "flags"),
        "since": ("day", "at_least"),
        "at": TIMINGS,
        "alternative": ("name", "reading", "next"),
        "limit": LIMITS,
        "worst": WORST,
        "text": ("en", "zh"),
        "counted from": ("entry",),
        "no limit": ("none",),
    }
)


def all_words() -> frozenset[str]:
    """Every word of the vocabulary, for the documentation test."""
    return frozenset(word for words in PLACES.values() for word in words)
