"""``adapter account``: what is typed, what is shown, and that no password is on a command line."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adapter.access.passwords import is_password
from adapter.cli.account import app
from adapter.errors import ConfigError
from adapter.store.accounts import Accounts
from adapter.store.database import open_database

PASSWORD = "four quiet lamps swim"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADAPTER_ACTOR", "root")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    return tmp_path


def run(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def accounts() -> Accounts:
    return Accounts(open_database(Path("workspace/adapter.sqlite")))


ANN = ("add", "ann", "--role", "coordinator", "--name", "Ann Example", "--password-file", "password")


def test_an_account_is_added_listed_changed_and_disabled(folder: Path) -> None:
    told = run(*ANN)
    assert told["grants"] == ["coordinator NCT03864250 demo"]
    found = accounts().working("ann")
    assert found is not None
    assert is_password(PASSWORD, found[1])
    (folder / "password").write_text("another quiet lamp sinks\r\nsecond line")
    run("password", "ann", "--password-file", "password")
    changed = accounts().working("ann")
    assert changed is not None
    assert is_password("another quiet lamp sinks", changed[1])
    run("grant", "ann", "--role", "monitor", "--until", "2027-01-31")
    assert run("disable", "ann")["state"] == "disabled"
    assert accounts().working("ann") is None
    assert run("enable", "ann")["state"] == "enabled"
    told = json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)
    assert told[0]["grants"] == ["monitor NCT03864250 demo until 2027-02-01T00:00:00+00:00"]


def test_grants_elsewhere_stay(folder: Path) -> None:
    run("add", "dm", "--role", "sponsor", "--site", "*", "--password-file", "password")
    run("grant", "dm", "--role", "sponsor")
    assert [one.site for one in accounts().named("dm").grants] == ["*", "demo"]


def test_a_dry_run_changes_nothing(folder: Path) -> None:
    run(*ANN, "--dry-run")
    assert not Path("workspace").exists()
    run(*ANN)
    for words in (("disable", "ann"), ("password", "ann"), ("grant", "ann", "--role", "monitor")):
        run(*words, "--dry-run")
    found = accounts().named("ann")
    assert (found.disabled_at, [one.role for one in found.grants]) == (None, ["coordinator"])


def test_a_services_token_is_shown_once_or_goes_to_a_file(folder: Path) -> None:
    told = run("add", "ehr", "--role", "service")
    found = accounts().shown_token(told["token"])
    assert found is not None
    assert found.name == "ehr"
    told = run("add", "lis", "--role", "service", "--token-file", "token")
    assert "token" not in told
    assert stat.S_IMODE(Path("token").stat().st_mode) == 0o600
    assert accounts().shown_token(Path("token").read_text().strip()) is not None
    with pytest.raises(ConfigError):
        run("add", "ris", "--role", "service", "--token-file", "token")
    assert [one.name for one in accounts().listed()] == ["ehr", "lis"]


@pytest.mark.parametrize(
    "words",
    [
        (*ANN[:2], "--role", "chief", *ANN[4:]),
        (*ANN, "--site", "*"),
        (*ANN, "--site", "atlantis"),
        (*ANN, "--until", "soon"),
        ("add", "Ann", *ANN[2:]),
        ANN[:4],  # nobody to type a password
        (*ANN[:-1], "nowhere"),
        ("disable", "nobody"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(Exception, match=r"fix:"):
        run(*words)
    assert not Path("workspace").exists() or accounts().listed() == ()


def test_a_weak_password_is_refused_and_not_repeated(folder: Path) -> None:
    (folder / "password").write_text("short\n")
    with pytest.raises(ConfigError) as told:
        run(*ANN)
    assert "has 5 characters" in str(told.value)
    assert "short" not in str(told.value)
