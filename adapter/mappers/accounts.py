"""The numbers add up: every resource became facts, a named issue, or was not relevant, and counts once."""

from __future__ import annotations

from collections import Counter

from adapter.mappers.context import Outcome
from adapter.model.facts import Account


class Ledger:
    """Counts outcomes by resource type while a run lasts."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Outcome]] = Counter()

    def enter(self, resource_type: str, outcome: Outcome) -> None:
        self._counts[(resource_type, outcome)] += 1

    def accounts(self) -> tuple[Account, ...]:
        """One row per resource type, in order of name."""
        types = sorted({resource_type for resource_type, _ in self._counts})
        return tuple(self._account(one) for one in types)

    def _account(self, resource_type: str) -> Account:
        facts = self._counts[(resource_type, "facts")]
        issues = self._counts[(resource_type, "issue")]
        not_relevant = self._counts[(resource_type, "not_relevant")]
        return Account(resource_type, facts + issues + not_relevant, facts, issues, not_relevant)
