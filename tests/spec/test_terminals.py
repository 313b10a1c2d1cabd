"""Every command prints through the terminal that spells steering characters out."""

from __future__ import annotations

import ast
import io
from pathlib import Path

from adapter import cli
from adapter.cli.audit import _tell
from adapter.cli.terminal import Terminal
from adapter.store.chain import Flaw, Verdict

MODULES = sorted(Path(cli.__file__).parent.glob("*.py"))


def test_no_command_has_a_console_of_its_own() -> None:
    own = [
        f"{path.name}:{call.lineno}"
        for path in MODULES
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Console"
    ]
    assert own == []


def test_a_flaw_of_the_audit_trail_steers_nothing() -> None:
    """A cell of a database that somebody changed may hold anything."""
    page = io.StringIO()
    flaw = Flaw(1, "changed", "by \x1b[2J\u202eme")
    _tell(Terminal(file=page, width=200), Verdict(1, 1, "0" * 64, 0, 0, (flaw,)), Path("checkpoints"))
    assert "\\u001b" in page.getvalue()
    assert "\\u202e" in page.getvalue()
    assert "\x1b[2J" not in page.getvalue()
