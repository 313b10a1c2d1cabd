"""``adapter sponsor``: tokens are made, listed and ended at the command line; none is seen twice."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from adapter.store.database import open_database
from adapter.store.sponsor_tokens import SponsorTokens
from tests.spec.test_cli import run


def test_a_token_is_shown_once_and_then_only_described(tmp_path: Path) -> None:
    made = json.loads(run("sponsor", "grant", "stats@sponsor.example", "--json", cwd=tmp_path).stdout)
    assert (made["study"], made["site"], made["profile"]) == ("NCT03864250", "DEMO", "sponsor")
    token = made["token"]
    engine = open_database(tmp_path / "workspace" / "adapter.sqlite")
    shown = SponsorTokens(engine).shown(token, datetime.now(UTC))
    engine.dispose()
    assert (shown.token and shown.token.name, shown.refusal) == ("stats@sponsor.example", "")
    listed = run("sponsor", "list", "--json", cwd=tmp_path).stdout
    assert json.loads(listed)[0]["state"] == "valid"
    audited = run("audit", "show", "--json", cwd=tmp_path).stdout
    assert '"grant"' in audited
    assert token.rpartition("_")[2] not in listed + audited


def test_a_token_in_a_file_is_the_users_alone_and_not_printed(tmp_path: Path) -> None:
    done = run("sponsor", "grant", "stats", "--out", "keys/token", "--profile", "research", cwd=tmp_path)
    file = tmp_path / "keys" / "token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in done.stdout + done.stderr
    assert file.read_text().startswith("sponsor_")
    again = run("sponsor", "grant", "others", "--out", "keys/token", cwd=tmp_path)
    assert (again.returncode, "name a new one" in again.stderr) == (78, True)
    taken = run("sponsor", "grant", "stats", "--out", "keys/other", cwd=tmp_path)
    assert (taken.returncode, "a valid token has this name" in taken.stderr) == (78, True)
    assert not (tmp_path / "keys" / "other").exists()


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    said = run("sponsor", "grant", "stats", "--out", "token", "--dry-run", cwd=tmp_path)
    assert (said.returncode, "nothing was" in said.stdout) == (0, True)
    assert not (tmp_path / "token").exists()
    assert json.loads(run("sponsor", "list", "--json", cwd=tmp_path).stdout) == []
    run("sponsor", "grant", "stats", cwd=tmp_path)
    assert "would be revoked" in run("sponsor", "revoke", "stats", "--dry-run", cwd=tmp_path).stdout
    assert json.loads(run("sponsor", "list", "--json", cwd=tmp_path).stdout)[0]["state"] == "valid"


def test_revoking(tmp_path: Path) -> None:
    run("sponsor", "grant", "stats", cwd=tmp_path)
    assert json.loads(run("sponsor", "revoke", "stats", "--json", cwd=tmp_path).stdout)["state"] == "revoked"
    again = run("sponsor", "revoke", "stats", cwd=tmp_path)
    assert (again.returncode, "adapter sponsor list" in again.stderr) == (65, True)
