"""Notes, decisions and views: only added, each in the audit; on both databases."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from adapter.errors import ConfigError, NotFound
from adapter.store import audit
from adapter.store.casebook import LONGEST, Casebook, View, secret
from adapter.store.database import reading

NOW = datetime(2019, 6, 3, 9, 0, tzinfo=UTC)


def test_notes_stay_in_order_with_author_and_time(database: Engine) -> None:
    book = Casebook(database, "S1")
    first = book.write("p1", " called, no answer ", "anna", NOW)
    book.write("p1", "wants to think it over", "anna", NOW, stand="deferred")
    book.write("p2", "somebody else", "anna", NOW)
    third = book.write("p1", "called on 2 June, not 3 June", "bo", NOW, corrects=first.number)
    assert [(one.words, one.who, one.stand) for one in book.notes("p1")] == [
        ("called, no answer", "anna", ""),
        ("wants to think it over", "anna", "deferred"),
        ("called on 2 June, not 3 June", "bo", ""),
    ]
    assert third.corrects == first.number
    assert third.at == "2019-06-03T09:00:00+00:00"
    assert Casebook(database, "S2").notes("p1") == ()


def test_the_audit_has_a_hash_of_the_words_and_not_the_words(database: Engine) -> None:
    Casebook(database, "S1").write("p1", "a word about someone", "anna", NOW)
    with reading(database) as connection:
        [row] = [one for one in audit.links(connection) if one.action == "note"]
    assert row.actor == "anna"
    assert hashlib.sha256(b"a word about someone").hexdigest() in row.detail
    assert "a word about" not in row.what + row.detail


def test_the_latest_decision_holds_until_reopened(database: Engine) -> None:
    book = Casebook(database, "S1")
    book.write("p1", "too ill", "anna", NOW, stand="not_suitable")
    book.write("p2", "call next week", "anna", NOW, stand="approach")
    book.write("p2", "said no", "anna", NOW, stand="declined")
    book.write("p3", "moved", "anna", NOW, stand="enrolled_elsewhere")
    book.write("p3", "was a mistake", "anna", NOW, stand="reopened")
    assert book.stands(["p1", "p2", "p3", "p4"]) == {"p1": "not_suitable", "p2": "declined"}


@pytest.mark.parametrize("words", ["", "   ", "x" * (LONGEST + 1)])
def test_a_note_needs_words_and_not_too_many(database: Engine, words: str) -> None:
    with pytest.raises(ConfigError):
        Casebook(database, "S1").write("p1", words, "anna", NOW)


def test_a_note_corrects_only_one_about_the_same_person(database: Engine) -> None:
    book = Casebook(database, "S1")
    other = book.write("p2", "about another", "anna", NOW)
    with pytest.raises(NotFound):
        book.write("p1", "wrong", "anna", NOW, corrects=other.number)


def test_views_belong_to_an_account_and_the_same_name_replaces(database: Engine) -> None:
    book = Casebook(database, "S1")
    book.keep_view("anna", "  to  attest ", "cause=attest")
    book.keep_view("anna", "to attest", "cause=attest&state=undetermined")
    book.keep_view("anna", "all", "")
    book.keep_view("bo", "mine", "sort=age")
    assert book.views("anna") == (View("all", ""), View("to attest", "cause=attest&state=undetermined"))
    book.drop_view("anna", "all")
    book.drop_view("anna", "mine")
    assert [one.name for one in book.views("anna")] == ["to attest"]
    assert [one.name for one in book.views("bo")] == ["mine"]


def test_the_secret_of_a_workspace_is_made_once(database: Engine) -> None:
    made = secret(database, "worklist")
    assert len(made) == 32
    assert secret(database, "worklist") == made
    assert secret(database, "other") != made
