"""The doctor at a real server: HAPI has all that the protocol needs, and the page says so."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from adapter.doctor import examine
from adapter.trial import Workspace, open_trial


async def test_hapi_has_what_the_protocol_needs(hapi_base_url: str, tmp_path: Path) -> None:
    examined = await examine(
        open_trial(), Workspace(tmp_path / "workspace"), hapi_base_url, now=lambda: datetime.now(UTC)
    )
    states = {(one.check, one.state) for one in examined.findings}
    assert examined.sound, [one for one in examined.findings if one.state == "fail"]
    for check in ("tls", "clock", "metadata", "types", "parameters", "searches", "changes", "write-back"):
        assert (check, "ok") in states
    assert any("HAPI" in one.seen for one in examined.findings if one.check == "metadata")
