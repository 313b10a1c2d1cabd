"""Who asks: an account and what it was granted, each grant for one role, study and site."""

from __future__ import annotations

from datetime import datetime

import msgspec

ANY = "*"


class Grant(msgspec.Struct, frozen=True, order=True):
    """One role at one study and one site; ``*`` stands for any, where ``matrix.yaml`` lets the role have it.

    ``until`` is an instant with zone as ISO 8601 text, "" for no end; ``patient`` what stands in addresses
    for the one patient that it is about, "" for all. Roles of one person are never mixed across places: an
    investigator at A who coordinates at B does not investigate at B.
    """

    role: str
    study: str
    site: str
    until: str = ""
    patient: str = ""

    def covers(self, study: str, site: str) -> bool:
        """Whether it is about this study at this site; an empty name is covered by nothing."""
        return bool(study and site) and self.study in (ANY, study) and self.site in (ANY, site)

    def in_force(self, now: datetime) -> bool:
        return not self.until or now < datetime.fromisoformat(self.until)


class Principal(msgspec.Struct, frozen=True):
    """Somebody, or a machine, that proved who it is. ``grants`` are those in force at that moment.

    ``account`` is what the audit calls it; ``name`` is shown on pages, and on signatures. ``how`` is the
    proof: ``password``, ``openid``, ``token``, ``launch`` or ``process`` (a call inside this program).
    """

    account: str
    grants: tuple[Grant, ...] = ()
    name: str = ""
    how: str = ""

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(one.role for one in self.grants)

    @property
    def studies(self) -> frozenset[str]:
        return frozenset(one.study for one in self.grants)

    @property
    def sites(self) -> frozenset[str]:
        return frozenset(one.site for one in self.grants)

    def at(self, study: str, site: str) -> tuple[Grant, ...]:
        """The grants that cover a study at a site."""
        return tuple(one for one in self.grants if one.covers(study, site))
