"""Who a row is about, without saying who: subject numbers and keyed hashes.

One key per study and site, held by the hospital; from the outside neither a subject number nor a
record reference leads back to a FHIR id. HMAC-SHA256: RFC 2104, FIPS 198-1. The table that leads back
(:class:`SubjectNumbers`) stays on site.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from adapter.errors import ConfigError, ExportError
from adapter.model.facts import Source, Subject

_NUMBER = re.compile(r"[A-Z0-9][A-Z0-9-]{0,10}")
_MINIMUM_KEY = 16


class SubjectNumbers(msgspec.Struct, frozen=True):
    """The site's enrolment log: Patient.id -> number of the subject in the study.

    A number once given is never given again and never changes; a merged patient keeps the number of
    any of its former ids.
    """

    known: Mapping[str, str] = {}

    @classmethod
    def load(cls, path: Path) -> SubjectNumbers:
        """Read ``{"<Patient.id>": "001-003", ...}``; a file that does not exist is an empty log.

        Raises :class:`ConfigError` for numbers that are malformed or given twice.
        """
        if not path.exists():
            return cls()
        try:
            known = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except msgspec.DecodeError as fault:
            raise ConfigError("the enrolment log is not a JSON object of texts", where=str(path)) from fault
        for number in known.values():
            if not _NUMBER.fullmatch(number):
                raise ConfigError(
                    f"{number!r} is not a subject number",
                    where=str(path),
                    fix="1 to 11 capital letters, digits and hyphens",
                )
        if len(set(known.values())) != len(known):
            raise ConfigError("a subject number is given twice", where=str(path))
        return cls(known)

    def save(self, path: Path) -> None:
        """Write the log for :meth:`load`; it identifies people and belongs on the site only."""
        path.write_text(json.dumps(dict(sorted(self.known.items())), indent=1) + "\n", encoding="utf-8")

    def of(self, subject: Subject) -> str | None:
        """The number given to this person under the surviving or a merged id."""
        found = {self.known[known] for known in (subject.id, *subject.merged) if known in self.known}
        if len(found) > 1:
            raise ExportError(
                "one person has two subject numbers in the enrolment log",
                fix="a merge joined two enrolled records; decide with the sponsor which number stands",
            )
        return found.pop() if found else None

    def with_numbers(self, given: Mapping[str, str]) -> SubjectNumbers:
        """The log with new numbers; those already known stand."""
        return SubjectNumbers({**given, **self.known})


class Pseudonymiser(msgspec.Struct, frozen=True):
    """Keyed names for one study at one site."""

    study_id: str
    site_id: str
    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) < _MINIMUM_KEY:
            raise ConfigError(
                f"the pseudonym key has {len(self.key)} bytes",
                fix=f"use at least {_MINIMUM_KEY} random bytes, one key per study and site",
            )

    def subject_numbers(self, subjects: Iterable[Subject], log: SubjectNumbers) -> dict[str, str]:
        """Patient.id -> SUBJID: from the log, else ``S`` and 50 bits of the keyed hash.

        Raises :class:`ExportError` if two people would share a number.
        """
        numbers: dict[str, str] = {}
        owners: dict[str, str] = {}
        for subject in sorted(subjects, key=lambda one: one.id):
            number = (
                log.of(subject) or "S" + base64.b32encode(self._digest("subject", subject.id)).decode()[:10]
            )
            if owners.setdefault(number, subject.id) != subject.id:
                raise ExportError(f"two people would share the subject number {number}")
            numbers[subject.id] = number
        return numbers

    def usubjid(self, number: str) -> str:
        return f"{self.study_id}-{self.site_id}-{number}"

    def token(self, kind: str, text: str) -> str:
        """16 hexadecimal digits that stand for an id inside this study and site; "" for ""."""
        return self._digest(kind, text).hex()[:16] if text else ""

    def source(self, source: Source) -> str:
        """The order of rows that differ in nothing else: stable, and says nothing."""
        return self._digest("source", f"{source.reference}#{source.path}").hex()

    def _digest(self, kind: str, text: str) -> bytes:
        message = "\x1f".join((self.study_id, self.site_id, kind, text))
        return hmac.new(self.key, message.encode(), hashlib.sha256).digest()
