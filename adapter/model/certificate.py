"""The coverage certificate: what was asked of a hospital, what came, and which silence says something."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

Readable = Literal["absence", "for some", "nothing"]


class TypeAccount(msgspec.Struct, frozen=True):
    """One resource type: how many came, and for how many people the answer is complete up to which day.

    ``people`` counts those it was asked for, 0 if it was asked for everyone at once; ``incomplete`` maps each
    reason to the number of people it holds for. ``silence``: whether no record may be read as absence.
    ``lost`` counts the people of whom something that was asked for did not come (1 if it was asked for
    everyone at once), so that not even the records that came may decide which is the latest; the others that
    are not complete are limited: all that was asked for came, but there may be more.
    """

    resource_type: str
    returned: int
    people: int
    complete: int
    last: date | None
    silence: Readable
    incomplete: dict[str, int] = {}
    lost: int = 0


class SilenceAccount(msgspec.Struct, frozen=True):
    """One question of the protocol whose answer may rest on silence, and whether it can here.

    ``types`` have to be complete before no record means absence; ``missing`` are those that are not so for
    everyone, or were never asked for.
    """

    criterion: str
    about: str
    types: tuple[str, ...]
    silence: Readable
    missing: tuple[str, ...] = ()


class Certificate(msgspec.Struct, frozen=True):
    """An account of one landing for one protocol; counts only, no identifiers of people.

    ``partial`` is true if any type is not complete for everyone it was asked for. ``refused`` counts what the
    source could not or would not answer, by issue code, type and detail.
    """

    site: str
    protocol: str
    landed_at: str
    generation: int
    landing_sha256: str
    asked: dict[str, str]
    partial: bool
    types: tuple[TypeAccount, ...]
    refused: tuple[tuple[str, str, str, int], ...]
    silences: tuple[SilenceAccount, ...]
