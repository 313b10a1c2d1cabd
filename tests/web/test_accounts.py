"""Accounts, sessions and failed attempts as they are kept, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from adapter.access import Grant
from adapter.access.passwords import check_password, hash_password, is_password
from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.accounts import Accounts, new_token
from adapter.store.attempts import Attempts
from adapter.store.database import reading
from adapter.store.handshakes import Handshakes
from adapter.store.sessions import Sessions

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = (Grant("coordinator", "S1", "A"),)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def accounts(database: Engine) -> Accounts:
    made = Accounts(database)
    made.add("ann", "Ann Example", "a hash", ANN, now=NOW, by="root")
    return made


@pytest.fixture
def sessions(database: Engine) -> Sessions:
    return Sessions(database, idle=15 * MINUTE, longest=timedelta(hours=12))


def actions(database: Engine) -> list[tuple[str, str]]:
    with reading(database) as connection:
        return [(link.actor, link.action) for link in audit.links(connection)]


def test_an_account_is_kept_and_every_change_is_on_record(accounts: Accounts, database: Engine) -> None:
    assert accounts.named("ann").grants == ANN
    accounts.set_secret("ann", "another", now=NOW, by="root")
    accounts.grant("ann", [Grant("investigator", "S1", "A")], now=NOW, by="root")
    accounts.disable("ann", now=NOW, by="root")
    assert accounts.working("ann") is None
    accounts.enable("ann", now=NOW, by="root")
    found = accounts.working("ann")
    assert found is not None
    assert (found[0].grants, found[1]) == ((Grant("investigator", "S1", "A"),), "another")
    assert [action for _, action in actions(database)] == [
        "account-add",
        "account-secret",
        "account-grant",
        "account-disable",
        "account-enable",
    ]


@pytest.mark.parametrize(
    ("name", "shown_as", "grants"),
    [
        ("Ann", "", ANN),
        ("a", "", ANN),
        ("ann smith", "", ANN),
        ("x" * 65, "", ANN),
        ("bob", "Bob\nInvestigator", ANN),
        ("bob", "", ()),
        ("bob", "", (Grant("chief", "S1", "A"),)),
        ("bob", "", (Grant("coordinator", "S1", "*"),)),
        ("bob", "", (*ANN, Grant("service", "S1", "A"))),
        ("ann", "", ANN),
    ],
)
def test_what_cannot_be_an_account_is_refused(
    accounts: Accounts, name: str, shown_as: str, grants: tuple[Grant, ...]
) -> None:
    with pytest.raises(ConfigError):
        accounts.add(name, shown_as, "h", grants, now=NOW, by="root")
    assert [one.name for one in accounts.listed()] == ["ann"]


def test_a_person_does_not_become_a_service(accounts: Accounts) -> None:
    with pytest.raises(ConfigError):
        accounts.grant("ann", [Grant("service", "S1", "A")], now=NOW, by="root")
    with pytest.raises(NotFound):
        accounts.disable("bob", now=NOW, by="root")


def test_a_token_opens_its_own_service_and_nothing_else(accounts: Accounts) -> None:
    token, kept = new_token("ehr")
    accounts.add("ehr", "", kept, [Grant("service", "S1", "A")], now=NOW, by="root")
    found = accounts.shown_token(token)
    assert found is not None
    assert found.name == "ehr"
    assert token.rpartition("_")[2] not in kept
    for wrong in (token[:-1], token + "A", token.replace("ehr", "ann"), token.replace("ehr", "nobody"), ""):
        assert accounts.shown_token(wrong) is None
    accounts.disable("ehr", now=NOW, by="root")
    assert accounts.shown_token(token) is None


def test_a_session_ends_unused_or_after_its_longest_time(sessions: Sessions) -> None:
    number = sessions.start("ann", "Ann", "password", NOW)
    assert sessions.of(number, NOW + 14 * MINUTE) is not None
    assert sessions.of(number, NOW + 28 * MINUTE) is not None  # it was used in between
    assert sessions.of(number, NOW + 43 * MINUTE) is None
    other = sessions.start("ann", "Ann", "password", NOW)
    for passed in range(0, 12 * 60, 10):
        assert sessions.of(other, NOW + passed * MINUTE) is not None
    assert sessions.of(other, NOW + 12 * 60 * MINUTE) is None


def test_the_database_does_not_know_a_sessions_number(sessions: Sessions, database: Engine) -> None:
    number = sessions.start("ann", "Ann", "password", NOW)
    with database.connect() as connection:
        rows = str(connection.execute(text("SELECT * FROM session")).all())
    assert number not in rows
    assert sessions.of("", NOW) is None
    assert sessions.of(number + "x", NOW) is None


def test_any_change_of_an_account_ends_its_sessions(accounts: Accounts, sessions: Sessions) -> None:
    for change in (
        lambda: accounts.set_secret("ann", "x", now=NOW, by="root"),
        lambda: accounts.grant("ann", ANN, now=NOW, by="root"),
        lambda: accounts.disable("ann", now=NOW, by="root"),
    ):
        mine, other = (sessions.start(name, name, "password", NOW) for name in ("ann", "bob"))
        change()
        assert sessions.of(mine, NOW) is None
        assert sessions.of(other, NOW) is not None


def test_sign_out_ends_one_session(sessions: Sessions, database: Engine) -> None:
    first, second = (sessions.start("ann", "Ann", "password", NOW) for _ in range(2))
    sessions.end(first, NOW)
    sessions.end("nonsense", NOW)
    assert sessions.of(first, NOW) is None
    assert sessions.of(second, NOW) is not None
    assert actions(database) == [("ann", "sign-in"), ("ann", "sign-in"), ("ann", "sign-out")]


def test_a_proof_is_for_one_record_once_and_soon(sessions: Sessions) -> None:
    number = sessions.start("ann", "Ann", "openid", NOW)
    fresh = sessions.prove(number, "a" * 64, NOW)
    assert sessions.of(number, NOW) is None  # it goes on under another number
    assert not sessions.use_proof(fresh, "b" * 64, NOW, 5 * MINUTE)
    assert sessions.use_proof(fresh, "a" * 64, NOW + 4 * MINUTE, 5 * MINUTE)
    assert not sessions.use_proof(fresh, "a" * 64, NOW + 4 * MINUTE, 5 * MINUTE)
    again = sessions.prove(fresh, "a" * 64, NOW)
    assert not sessions.use_proof(again, "a" * 64, NOW + 5 * MINUTE, 5 * MINUTE)
    assert not sessions.use_proof(again, "", NOW, 5 * MINUTE)


def test_failures_lead_to_waits_that_double_up_to_a_quarter_of_an_hour(database: Engine) -> None:
    attempts = Attempts(database)
    assert [attempts.failed("account", "ann", NOW) for _ in range(5)] == [False, False, False, False, True]
    assert attempts.locked("account", "ann", NOW + 59 * timedelta(seconds=1))
    assert not attempts.locked("account", "ann", NOW + MINUTE)
    assert not attempts.locked("account", "bob", NOW)
    for minutes in (2, 4, 8, 15, 15):
        attempts.failed("account", "ann", NOW)
        assert attempts.locked("account", "ann", NOW + minutes * MINUTE - timedelta(seconds=1))
        assert not attempts.locked("account", "ann", NOW + minutes * MINUTE)
    attempts.forget("account", "ann")
    assert not attempts.locked("account", "ann", NOW)


def test_a_handshake_is_for_its_browser_and_once(database: Engine) -> None:
    shakes = Handshakes(database)
    browser = shakes.begin("sign-in", "state", {"nonce": "n"}, NOW)
    assert shakes.finish("sign-in", "state", "another browser", NOW) is None
    assert shakes.finish("sign-in", "another state", browser, NOW) is None
    assert shakes.finish("launch", "state", browser, NOW) is None
    assert shakes.finish("sign-in", "state", browser, NOW) == {"nonce": "n"}
    assert shakes.finish("sign-in", "state", browser, NOW) is None
    late = shakes.begin("sign-in", "late", {}, NOW)
    assert shakes.finish("sign-in", "late", late, NOW + 10 * MINUTE) is None


def test_a_password_is_kept_as_argon2id_and_found_again() -> None:
    kept = hash_password("four quiet lamps swim")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # RFC 9106, 4, second recommended option
    assert is_password("four quiet lamps swim", kept)
    assert not is_password("four quiet lamps swam", kept)
    assert is_password("ﬁve quiet lamps swim", hash_password("five quiet lamps swim"))  # the ligature, NFKC
    assert not is_password("the password of nobody", None)
    assert not is_password("", "")


@pytest.mark.parametrize(
    "password",
    ["", "fourteen chars", "a" * 20, "abababababababab", "ann.exampleann.example", "x" * 513],
)
def test_a_password_that_is_short_or_the_name_is_refused(password: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_password(password, "ann.example", "Ann Example")
    assert not password or password not in str(told.value)
    check_password("correct horse battery", "ann.example", "Ann Example")
