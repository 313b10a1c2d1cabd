"""The access matrix as the users stated it, and what a grant does and does not open."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapter.access import MATRIX, Grant, Principal, allows, load_matrix, reaches
from adapter.errors import MappingError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STATED = """
role         see-identity see-results read-datasets see-audit   see-mappings propose-mapping approve-mapping
coordinator  site         site        -             own-actions site         site            -
investigator site         site        -             site        site         -               site
sponsor      -            -           site          export-log  site         -               -
monitor      dated        site        site          site        site         -               -
service      site         site        -             -           -            -               -
"""
ROWS = [line.split() for line in STATED.strip().splitlines()]
CELLS = [
    (row[0], action, cell) for row in ROWS[1:] for action, cell in zip(ROWS[0][1:], row[1:], strict=True)
]


def principal(*grants: Grant) -> Principal:
    return Principal("someone", grants)


@pytest.mark.parametrize(("role", "action", "reach"), CELLS)
def test_the_matrix_says_what_was_stated(role: str, action: str, reach: str) -> None:
    assert MATRIX.actions[action].who.get(role, "-") == reach


@pytest.mark.parametrize("action", list(MATRIX.actions))
@pytest.mark.parametrize("role", list(MATRIX.roles))
def test_a_grant_opens_its_own_study_and_site_only(role: str, action: str) -> None:
    grant = Grant(role, "S1", "A", "2099-01-01T00:00:00+00:00")
    assert allows(principal(grant), action, "S1", "A") is (role in MATRIX.actions[action].who)
    for study, site in (("S1", "B"), ("S2", "A"), ("S2", "B"), ("", "A"), ("S1", ""), ("", ""), ("*", "*")):
        assert not allows(principal(grant), action, study, site)


@pytest.mark.parametrize("action", list(MATRIX.actions))
def test_nobody_may_do_nothing(action: str) -> None:
    assert not allows(principal(), action, "S1", "A")
    assert not allows(principal(Grant("chief", "S1", "A")), action, "S1", "A")


def test_roles_of_two_places_are_not_mixed() -> None:
    both = principal(Grant("investigator", "S1", "A"), Grant("coordinator", "S1", "B"))
    assert allows(both, "approve-write-back", "S1", "A")
    assert not allows(both, "approve-write-back", "S1", "B")


def test_a_monitor_sees_identity_only_with_an_end_in_sight() -> None:
    assert not allows(principal(Grant("monitor", "S1", "A")), "see-identity", "S1", "A")
    assert allows(principal(Grant("monitor", "S1", "A")), "see-results", "S1", "A")


def test_an_open_grant_counts_only_for_roles_that_may_have_one() -> None:
    assert not allows(principal(Grant("coordinator", "S1", "*")), "see-results", "S1", "A")
    assert not allows(principal(Grant("investigator", "*", "A")), "see-results", "S1", "A")
    assert allows(principal(Grant("sponsor", "S1", "*")), "read-datasets", "S1", "A")
    assert not allows(principal(Grant("sponsor", "*", "*")), "read-datasets", "S1", "A")
    assert allows(principal(Grant("admin", "*", "A")), "see-operations", "S1", "A")


def test_a_grant_ends_at_its_instant() -> None:
    grant = Grant("monitor", "S1", "A", "2026-03-01T00:00:00+00:00")
    assert grant.in_force(datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC))
    assert not grant.in_force(NOW)


def test_two_roles_reach_as_far_as_both() -> None:
    both = principal(Grant("coordinator", "S1", "A"), Grant("sponsor", "S1", "A"))
    assert reaches(both, "see-audit", "S1", "A") == {"own-actions", "export-log"}


def test_a_word_misspelt_is_no_refusal_but_a_fault() -> None:
    with pytest.raises(KeyError):
        allows(principal(), "see-everything", "S1", "A")


@pytest.mark.parametrize(
    "text",
    [
        "roles: {}\nactions: {a: {what: {en: x, zh: y}, who: {ghost: site}}}",
        "roles: {r: {en: x, zh: y}}\nactions: {a: {what: {en: x, zh: y}, who: {r: everything}}}",
        "roles: {r: {en: x, zh: y}}\nactions: {a: {what: {en: x, zh: y}, who: {r: site}, also: z}}",
        "roles: !!python/object/apply:os.system [id]\nactions: {}",
        "roles: [",
    ],
)
def test_a_matrix_with_unknown_words_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "matrix.yaml").write_text(text)
    with pytest.raises(MappingError):
        load_matrix(tmp_path / "matrix.yaml")
