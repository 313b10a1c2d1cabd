"""Sponsors' tokens: shown once, kept hashed, ended by time or by a person, and what each is known to hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.database import reading
from adapter.store.sponsor_tokens import Receipt, Scope, SponsorTokens

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCOPE = Scope("NCT03864250", "DEMO", "sponsor")
DAY = timedelta(days=1)


def granted(database: Engine, name: str = "statistics", days: int = 30) -> tuple[SponsorTokens, str]:
    tokens = SponsorTokens(database)
    return tokens, tokens.grant(name, SCOPE, NOW + days * DAY, now=NOW, by="A. Manager")[1]


def test_a_token_is_known_again_and_no_cell_of_the_database_holds_it(database: Engine) -> None:
    tokens, shown = granted(database)
    found, refusal, _ = tokens.shown(shown, NOW)
    assert (found and found.name, found and found.scope, refusal) == ("statistics", SCOPE, "")
    secret = shown.rpartition("_")[2]
    with reading(database) as connection:
        cells = [
            str(cell)
            for table in ("sponsor_token", "audit")
            for row in connection.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
            for cell in row
        ]
    assert len(cells) > 10
    assert not [cell for cell in cells if secret in cell]


@pytest.mark.parametrize(
    "change",
    [
        lambda shown: shown[:-1] + ("A" if shown[-1] != "A" else "B"),
        lambda shown: shown.replace("sponsor_", "sponsor_0", 1),
        lambda shown: shown.upper(),
        lambda shown: shown + "\n",
        lambda shown: " " + shown,
        lambda shown: shown.replace("_", "\0"),
        lambda shown: "",
        lambda shown: "sponsor_0000000000000000_" + "0" * 43,
        lambda shown: "é" * 68,
        lambda shown: shown + "x" * 1_000_000,
    ],
)
def test_anything_else_is_unknown(database: Engine, change: object) -> None:
    tokens, shown = granted(database)
    assert callable(change)
    assert tokens.shown(change(shown), NOW)[:2] == (None, "unknown")


def test_a_token_ends_with_its_day_or_when_it_is_revoked(database: Engine) -> None:
    tokens, shown = granted(database, days=30)
    assert tokens.shown(shown, NOW + 30 * DAY - timedelta(seconds=1)).refusal == ""
    assert tokens.shown(shown, NOW + 30 * DAY).refusal == "expired"
    tokens.revoke("statistics", now=NOW + DAY, by="B. Manager")
    assert tokens.shown(shown, NOW + 2 * DAY).refusal == "revoked"
    with pytest.raises(NotFound):
        tokens.revoke("statistics", now=NOW + 2 * DAY, by="B. Manager")
    with reading(database) as connection:
        rows = [(one.actor, one.action, one.what) for one in audit.links(connection)]
    assert rows == [
        ("A. Manager", "grant", '["statistics"]'),
        ("B. Manager", "revoke", '["statistics"]'),
    ]


def test_a_name_belongs_to_one_valid_token(database: Engine) -> None:
    tokens, first = granted(database)
    with pytest.raises(ConfigError, match="a valid token has this name"):
        granted(database)
    with pytest.raises(ConfigError, match="a valid token has this name"):
        tokens.would_grant("statistics", SCOPE, NOW + DAY, now=NOW, by="A. Manager")
    tokens.revoke("statistics", now=NOW, by="A. Manager")
    _, second = granted(database)
    assert tokens.shown(first, NOW).refusal == "revoked"
    assert tokens.shown(second, NOW).refusal == ""
    assert [one.state(NOW) for one in tokens.listed()].count("valid") == 1


@pytest.mark.parametrize("name", ["", " ", "two words", "-x", "x" * 65, "a\nb", "名", "a/b"])
def test_a_name_has_to_be_one_that_an_audit_can_show(database: Engine, name: str) -> None:
    with pytest.raises(ConfigError, match="stands in the audit"):
        SponsorTokens(database).grant(name, SCOPE, NOW + DAY, now=NOW, by="A. Manager")


def test_what_ends_before_it_begins_is_not_granted(database: Engine) -> None:
    with pytest.raises(ConfigError, match="ended already"):
        SponsorTokens(database).grant("x", SCOPE, NOW, now=NOW, by="A. Manager")
    assert SponsorTokens(database).listed() == ()


def test_receipts_are_per_token_and_the_last_one_counts(database: Engine) -> None:
    tokens, shown = granted(database)
    mine = tokens.shown(shown, NOW).token
    other = tokens.grant("other", SCOPE, NOW + DAY, now=NOW, by="A. Manager")[0]
    assert mine is not None
    assert tokens.last_receipt(mine) is None
    for snapshot in ("20260101-a", "20260201-b", "20260201-b", "20260101-a"):
        tokens.received(mine, Receipt(snapshot, "0" * 64, NOW))
    last = tokens.last_receipt(mine)
    assert last is not None
    assert last.snapshot == "20260101-a"
    assert (tokens.had(mine, "20260201-b"), tokens.had(other, "20260201-b")) == (True, False)
    assert tokens.last_receipt(other) is None
    with reading(database) as connection:
        rows = [one.what for one in audit.links(connection) if one.action == "pulled"]
    assert rows == ['["20260101-a"]', '["20260201-b"]', '["20260101-a"]']
