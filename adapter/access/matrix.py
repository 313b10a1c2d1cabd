"""The access matrix: which role may do which action, and how far. What it does not name is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import yaml

from adapter.access.principal import ANY, Grant, Principal
from adapter.errors import MappingError
from adapter.model.yaml_nodes import compose, foreign

Reach = Literal["site", "dated", "own-actions", "export-log"]
FILE = Path(__file__).with_name("matrix.yaml")


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    en: str
    zh: str


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role's names, and which of study and site its grants may leave open (``*``)."""

    en: str
    zh: str
    any: tuple[Literal["study", "site"], ...] = ()


class Action(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    what: Words
    who: dict[str, Reach]


class Matrix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``matrix.yaml``."""

    roles: dict[str, Role]
    actions: dict[str, Action]


def load_matrix(path: Path = FILE) -> Matrix:
    """Raises :class:`MappingError` with file (and line, where YAML knows it) for anything unknown."""
    try:
        text = path.read_text(encoding="utf-8")
        strange = foreign(compose(text))
        if strange is not None:
            raise MappingError(strange.message, where=f"{path}:{strange.line}", fix=strange.fix)
        loaded = msgspec.convert(yaml.safe_load(text), Matrix)
    except yaml.MarkedYAMLError as fault:
        line = fault.problem_mark.line + 1 if fault.problem_mark else 1
        raise MappingError(str(fault.problem), where=f"{path}:{line}", fix="correct the YAML") from fault
    except (OSError, UnicodeDecodeError, msgspec.ValidationError) as fault:
        raise MappingError(str(fault), where=str(path), fix="see the comment at its head") from fault
    for name, action in loaded.actions.items():
        if unknown := sorted(set(action.who) - set(loaded.roles)):
            raise MappingError(
                f"{name} names the role {unknown[0]!r}, which does not exist",
                where=str(path),
                fix=f"roles are {', '.join(loaded.roles)}",
            )
    return loaded


MATRIX = load_matrix()


def is_proper(grant: Grant, matrix: Matrix = MATRIX) -> bool:
    """Whether the role exists and the grant leaves open no more than the role may."""
    role = matrix.roles.get(grant.role)
    opened = {name for name in ("study", "site") if getattr(grant, name) == ANY}
    return role is not None and opened <= set(role.any)


def reaches(
    principal: Principal, action: str, study: str, site: str, matrix: Matrix = MATRIX
) -> frozenset[Reach]:
    """How far the principal may do it at a study and site; empty: not at all.

    Raises KeyError for an action that ``matrix.yaml`` does not have: a spelling mistake of ours, no refusal.
    """
    who = matrix.actions[action].who
    found = set[Reach]()
    for grant in principal.at(study, site):
        reach = who.get(grant.role) if is_proper(grant, matrix) else None
        if reach is not None and (reach != "dated" or grant.until):
            found.add(reach)
    return frozenset(found)


def allows(principal: Principal, action: str, study: str, site: str, matrix: Matrix = MATRIX) -> bool:
    """Whether the principal may do it at all, there; see :func:`reaches` for how far."""
    return bool(reaches(principal, action, study, site, matrix))
