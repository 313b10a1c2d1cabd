"""The ladder: ways to tell a hospital, best first, and which of them a server has.

A site may name its own order (``rungs`` in ``site.toml``), which then is the ladder: someone there has tried
it. Otherwise ``/metadata`` decides. A rung that a server refuses for a person leads to the next one for that
person. The last two need no server of the hospital: our own FHIR endpoint, and a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

from adapter.errors import ConfigError
from adapter.writeback.capabilities import Capabilities, TypeCapability

Rung = Literal[
    "ResearchSubject", "List", "Task", "Basic", "Communication", "DocumentReference", "own", "file"
]
LADDER: tuple[Rung, ...] = get_args(Rung)
NOTES: tuple[Rung, ...] = ("List", "Task", "Basic", "Communication", "DocumentReference")
# What stands in a record as said on a day is not rewritten: a new one says that it replaces the old.
NEVER_CHANGED: frozenset[Rung] = frozenset({"Communication", "DocumentReference"})

# The type, or the person's record, is closed to us (https://hl7.org/fhir/R4/http.html#rejecting-updates).
_CLOSED = frozenset({403, 404, 405, 406, 410, 415, 422, 501})
_UNSUPPORTED = "not-supported"


class Way(msgspec.Struct, frozen=True):
    """A rung as this server has it.

    ``whole``: all of a subject in one transaction. ``client_ids``: created by PUT under an id of ours, else
    by POST. ``updates``: what is ours may be replaced; ``retracts``: a duplicate of ours may be marked as
    entered in error. ``look``: the search parameter that finds what is
    there for a patient, "" if there is none (then only the ledger knows).
    """

    rung: Rung
    whole: bool = True
    client_ids: bool = True
    updates: bool = True
    retracts: bool = False
    look: str = ""
    why: str = ""


def choose(capabilities: Capabilities, named: Sequence[str] = (), *, own: bool = False) -> tuple[Way, ...]:
    """The ways of this server, best first. ``named`` is the site's own order; ``own`` says that our own
    endpoint is at hand. Raises :class:`ConfigError` for a name that is no rung."""
    check_names(named)
    wanted = [rung for name in named for rung in LADDER if rung == name] or list(LADDER)
    found = [_way(rung, capabilities, bool(named)) for rung in wanted if own or rung != "own"]
    return tuple(way for way in found if way is not None)


def check_names(named: Iterable[str]) -> None:
    unknown = sorted(set(named) - set(LADDER))
    if unknown:
        raise ConfigError(
            f"no rung {', '.join(map(repr, unknown))}",
            where="site.toml, rungs",
            fix=f"known: {', '.join(LADDER)}",
        )


def leads_on(status: int, codes: str) -> bool:
    """Whether a refusal closes the rung for this person, so that the next one is tried. A malformed request
    (400) or a missing sign-in (401) would fail on the next rung too."""
    return status in _CLOSED or (status == 400 and _UNSUPPORTED in codes)


def _way(rung: Rung, capabilities: Capabilities, trusted: bool) -> Way | None:
    why = "named by the site" if trusted else "offered by /metadata"
    if rung == "file":
        return Way(rung, why="always there")
    if rung == "own":
        return Way(rung, why="our own endpoint")
    if rung == "ResearchSubject":
        types = [capabilities.of(one) for one in ("ResearchSubject", "Flag", "Provenance")]
        offered = all(one.can("update") and one.client_ids is not False for one in types)
        offered = offered and all(one.can("search-type") for one in types[:2])
        return Way(rung, whole=capabilities.transactions, why=why) if offered or trusted else None
    known = capabilities.of(rung)
    by_put = known.can("update") and known.client_ids is True
    if not (by_put or known.can("create") or trusted):
        return None
    changes = known.can("update")
    return Way(
        rung,
        whole=False,
        client_ids=by_put,
        updates=changes and rung not in NEVER_CHANGED,
        retracts=changes and rung != "Basic",  # it has no status to say so
        look=_look(known),
        why=why,
    )


def _look(known: TypeCapability) -> str:
    if not known.can("search-type"):
        return ""
    return next(
        (name for name in ("patient", "subject") if name in known.parameters or not known.parameters), ""
    )
