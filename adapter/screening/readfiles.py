"""What a screening read in landed files, so that a file which stands is not read again.

Each pass over a landing is a function of blocks (:mod:`adapter.source.nominate`), so what a file says
depends on its bytes and on what is asked, not on the other files. Held are the lines that one landing kept
of candidates, and no others: :meth:`ReadFiles.keep` forgets what is of no file of that landing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar

from adapter.model.candidates import CandidateQuery, Candidates
from adapter.model.resource import RawResource
from adapter.screening.deal import Dealt, deal
from adapter.source.landing import LandedFile, Landing, Tally
from adapter.source.nominate import (
    PATIENT,
    STUDY,
    Linked,
    candidates_of,
    linked_in,
    nominated_in,
    studies_in,
    together,
)

T = TypeVar("T")


class Kept(NamedTuple):
    """The lines that the sieve keeps of one file, where each belongs, and how many lines there were."""

    lines: tuple[RawResource, ...]
    dealt: tuple[Dealt, ...]
    tally: Tally


class ReadFiles:
    """Answers by file; the same as reading all of a landing anew."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], dict[Hashable, Any]] = {}

    @property
    def held(self) -> frozenset[tuple[str, str]]:
        """Name and SHA-256 of the files that something is known of."""
        return frozenset(self._answers)

    def keep(self, landing: Landing) -> None:
        """Forget every file that is not of this landing."""
        standing = {(file.name, file.sha256) for file in landing.manifest.files}
        self._answers = {file: known for file, known in self._answers.items() if file in standing}

    def _once(self, file: LandedFile, asked: Hashable, work: Callable[[], T]) -> T:
        known = self._answers.setdefault((file.name, file.sha256), {})
        if asked not in known:
            known[asked] = work()
        found: T = known[asked]
        return found

    def candidates(self, landing: Landing, query: CandidateQuery) -> Candidates:
        """:meth:`Landing.candidates`."""
        names = query.studies
        studies = frozenset[str]().union(
            *(
                self._once(one, ("studies", names), lambda one=one: studies_in(landing.blocks(one), names))  # type: ignore[misc]
                for one in (landing.files(STUDY) if names else ())
            )
        )
        told = [
            self._once(
                one,
                ("nominated", query, studies),
                lambda one=one: nominated_in(landing.blocks(one), query, studies),  # type: ignore[misc]
            )
            for one in landing.files(query.resource_types)
        ]

        def link(named: frozenset[tuple[str, str]]) -> list[Linked]:
            return [
                self._once(one, ("linked", named), lambda one=one: linked_in(landing.blocks(one), named))  # type: ignore[misc]
                for one in landing.files(PATIENT)
            ]

        return candidates_of(together(told), link, landing.moved)

    def kept(self, landing: Landing, file: LandedFile, candidates: frozenset[str]) -> Kept:
        """What :meth:`Landing.resources` gives of one file for these candidates, dealt."""

        def read() -> Kept:
            tally = Tally()
            lines = tuple(landing.resources_of(file, candidates=candidates, tally=tally))
            known = self._by_line(file, asked)
            return Kept(
                lines,
                tuple(known.get(one.line) or deal(one.line, one.where, candidates) for one in lines),
                tally,
            )

        asked = ("kept", candidates)
        return self._once(file, asked, read)

    def _by_line(self, file: LandedFile, asked: Hashable) -> dict[bytes, Dealt]:
        """Where lines belong that another version of the file holds too. What names somebody says so by
        itself; only what names nobody belongs where it lies (:func:`adapter.screening.deal.deal`)."""
        versions = (known.get(asked) for (name, _), known in self._answers.items() if name == file.name)
        return {
            line.line: dealt
            for version in versions
            if version is not None
            for line, dealt in zip(version.lines, version.dealt, strict=True)
            if dealt.named
        }
