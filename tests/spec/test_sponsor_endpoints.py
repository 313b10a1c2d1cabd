"""What a sponsor's program meets under /sponsor: a real server on loopback, asked with requests."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from tests.shelves import FILES, Served, serving, shelve

CSV = FILES["csv/lb.csv"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "workspace") as found:
        yield found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def problem(answer: requests.Response, status: int, kind: str) -> dict[str, object]:
    """The answer is a problem of RFC 9457 and quotes nothing else."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    told: dict[str, object] = answer.json()
    assert told["type"] == f"urn:trial-fhir-adapter:problem:{kind}"
    assert told["status"] == status
    assert set(told) <= {"type", "title", "status", "detail", "instance"}
    return told


def test_snapshots_are_listed_by_time_each_with_what_it_holds(served: Served) -> None:
    later, first = shelve(served.snapshots, day="2019-09-01"), shelve(served.snapshots)
    told = served.get("snapshots").json()
    assert [one["id"] for one in told["snapshots"]] == [first, later]
    assert told["snapshots"][0] == {
        "id": first,
        "time": "2019-06-03T00:00:00+08:00",
        "study": "NCT03864250",
        "site": "DEMO",
        "profile": "sponsor",
        "manifest_sha256": sha256((served.snapshots / first / "manifest.json").read_bytes()),
        "files": 3,
        "bytes": sum(map(len, FILES.values())),
        "rows": {"LB": 2000},
    }
    assert told["last_pull"] is None


def test_the_manifest_comes_as_it_is(served: Served) -> None:
    name = shelve(served.snapshots)
    kept = (served.snapshots / name / "manifest.json").read_bytes()
    for asked in (name, "latest"):
        got = served.get(f"snapshots/{asked}/manifest")
        assert (got.content, got.headers["ETag"]) == (kept, f'"{sha256(kept)}"')
    again = served.get(f"snapshots/{name}/manifest", If_None_Match=got.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")


def test_every_file_of_the_manifest_and_its_two_representations(served: Served) -> None:
    name = shelve(served.snapshots)
    for path, content in FILES.items():
        plain = served.get(f"snapshots/{name}/files/{path}")
        assert (plain.status_code, plain.content) == (200, content)
        assert plain.headers["ETag"] == f'"{sha256(content)}"'
        assert "Content-Encoding" not in plain.headers
        assert plain.headers["Vary"] == "Accept-Encoding"
        assert plain.headers["Accept-Ranges"] == "bytes"
        packed = requests.get(
            f"{served.url}/snapshots/{name}/files/{path}",
            headers=served.headers(Accept_Encoding="gzip"),
            stream=True,
            timeout=30,
        )
        raw = packed.raw.read(decode_content=False)
        assert int(packed.headers["Content-Length"]) == len(raw)
        assert packed.headers["ETag"] == f'"{sha256(raw)}"'
        if path == "csv/lb.csv":
            assert packed.headers["Content-Encoding"] == "gzip"
            assert len(raw) < len(content) / 10
            assert gzip.decompress(raw) == content
        else:  # too small, or packed already
            assert raw == content


def test_head_tells_what_get_would_send(served: Served) -> None:
    name = shelve(served.snapshots)
    url = f"{served.url}/snapshots/{name}/files/csv/lb.csv"
    told = requests.head(url, headers=served.headers(), timeout=30)
    assert (told.status_code, int(told.headers["Content-Length"]), told.content) == (200, len(CSV), b"")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_a_download_that_was_cut_goes_on_where_it_stopped(served: Served, encoding: str) -> None:
    name = shelve(served.snapshots)
    url = f"{served.url}/snapshots/{name}/files/csv/lb.csv"

    def raw(**headers: str) -> tuple[requests.Response, bytes]:
        got = requests.get(
            url, headers=served.headers(Accept_Encoding=encoding, **headers), stream=True, timeout=30
        )
        return got, got.raw.read(decode_content=False)

    whole, content = raw()
    tag = whole.headers["ETag"]
    rest, tail = raw(Range="bytes=100-", If_Range=tag)
    assert (rest.status_code, content[:100] + tail) == (206, content)
    assert rest.headers["Content-Range"] == f"bytes 100-{len(content) - 1}/{len(content)}"
    assert rest.headers["ETag"] == tag
    other, all_of_it = raw(Range="bytes=100-", If_Range='"of another representation"')
    assert (other.status_code, all_of_it) == (200, content)
    beyond, _ = raw(Range=f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


def test_conditions_are_kept(served: Served) -> None:
    name = shelve(served.snapshots)
    path, tag = f"snapshots/{name}/files/csv/lb.csv", f'"{sha256(CSV)}"'
    assert served.get(path, If_None_Match=tag).status_code == 304
    assert served.get(path, If_None_Match='"x"').status_code == 200
    problem(served.get(path, If_Match='"x"'), 412, "other-version")
    # the tag of the plain bytes says nothing of the packed ones
    assert served.get(path, If_None_Match=tag, Accept_Encoding="gzip").status_code == 200


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "no token"),
        ("Basic c3BvbnNvcjpzcG9uc29y", "no token"),
        ("Bearer", "unknown"),
        ("Bearer wrong", "unknown"),
        ("Bearer sponsor_0123456789abcdef_" + "a" * 43, "unknown"),
    ],
)
def test_without_a_token_nothing_is_told(served: Served, header: str | None, reason: str) -> None:
    name, told = shelve(served.snapshots), list[dict[str, object]]()
    for path in ("snapshots", f"snapshots/{name}/manifest", "snapshots/19990101-000000000000/manifest", "x"):
        got = requests.get(
            f"{served.url}/{path}", headers={"Authorization": header} if header else {}, timeout=30
        )
        told.append(problem(got, 401, "token"))
        assert got.headers["WWW-Authenticate"].startswith('Bearer realm="sponsor"')
        assert told[-1].pop("instance") == f"/sponsor/{path}"
    assert all(one == told[0] for one in told)  # so nobody learns what exists
    assert [(actor, told["status"], told["refused"]) for actor, _, told in served.told()] == [
        ("unknown sponsor", 401, reason)
    ] * 4


def test_a_token_in_the_address_is_not_looked_at(served: Served) -> None:
    shelve(served.snapshots)
    for name in ("token", "access_token"):
        problem(requests.get(f"{served.url}/snapshots?{name}={served.token}", timeout=30), 401, "token")


def test_an_expired_or_revoked_token_is_refused_by_name(served: Served) -> None:
    short = served.grant("short", days=1)
    served.now[0] += timedelta(days=2)
    got = requests.get(f"{served.url}/snapshots", headers={"Authorization": f"Bearer {short}"}, timeout=30)
    assert "expired" in str(problem(got, 401, "token")["detail"])
    assert [(actor, told["refused"]) for actor, _, told in served.told()] == [("short", "expired")]


@pytest.mark.parametrize("scope", [{"study": "NCT01180036"}, {"site": "OTHER"}, {"profile": "research"}])
def test_what_is_outside_a_tokens_scope_is_not_there(served: Served, scope: dict[str, str]) -> None:
    foreign, own = shelve(served.snapshots), shelve(served.snapshots, day="2020-01-01", **scope)
    token = served.grant("other", **scope)
    headers = {"Authorization": f"Bearer {token}"}
    told = requests.get(f"{served.url}/snapshots", headers=headers, timeout=30).json()
    assert [one["id"] for one in told["snapshots"]] == [own]
    absent = requests.get(
        f"{served.url}/snapshots/19990101-000000000000/manifest", headers=headers, timeout=30
    )
    for what in ("manifest", "files/csv/lb.csv", "difference", f"difference?since={own}"):
        got = requests.get(f"{served.url}/snapshots/{foreign}/{what}", headers=headers, timeout=30)
        problem(got, 404, "not-found")
        assert got.json()["detail"] == absent.json()["detail"]
    since = requests.get(
        f"{served.url}/snapshots/{own}/difference?since={foreign}", headers=headers, timeout=30
    )
    problem(since, 404, "not-found")
    body = json.dumps({"manifest_sha256": "0" * 64})
    receipt = requests.put(
        f"{served.url}/snapshots/{foreign}/receipt", headers=headers, data=body, timeout=30
    )
    problem(receipt, 404, "not-found")


def raw_get(served: Served, target: str) -> bytes:
    """Exactly this target on the wire; libraries would tidy it up."""
    host, _, port = served.url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as wire:
        wire.sendall(
            f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        parts = []
        while part := wire.recv(65536):
            parts.append(part)
        return b"".join(parts)


OUTSIDE = [
    "../manifest.json",
    "../../lineage/x.ndjson",
    "csv/../../../../lineage/x.ndjson",
    "%2e%2e/%2e%2e/%2e%2e/lineage/x.ndjson",
    "..%2f..%2f..%2flineage%2fx.ndjson",
    "%252e%252e%252f%252e%252e%252flineage%252fx.ndjson",
    "..%5c..%5c..%5clineage%5cx.ndjson",
    "csv/lb.csv%00",
    "csv/lb.csv%00.csv",
    "%00",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "csv",
    "csv/",
    ".",
    "",
    "./csv/lb.csv",
    "csv//lb.csv",
    "CSV/LB.CSV",
    "manifest.json",
    "csv/lb.csv/",
    "csv/unlisted.csv",
    "%c0%ae%c0%ae/lineage/x.ndjson",
    "%ff%fe",
    "\x2e\x2e;/lineage/x.ndjson",
    "x" * 5000,
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_no_way_leads_to_anything_but_what_the_manifest_names(served: Served, path: str) -> None:
    name = shelve(served.snapshots)
    (served.root / "lineage").mkdir()
    (served.root / "lineage" / "x.ndjson").write_bytes(b"CANARY")
    (served.snapshots / name / "csv" / "unlisted.csv").write_bytes(b"CANARY")
    for target in (f"/sponsor/snapshots/{name}/files/{path}", f"/sponsor/snapshots/{path}/manifest"):
        got = raw_get(served, target)
        assert b"CANARY" not in got
        assert b"root:" not in got
        assert got.split(b" ", 2)[1] in (b"404", b"400", b"307"), got[:200]


@pytest.mark.parametrize("name", ["..", "%2e%2e", ".", "%00", "lineage", "..%2flineage", "20190603-"])
def test_no_snapshot_is_called_otherwise_than_by_its_id(served: Served, name: str) -> None:
    shelve(served.snapshots)
    for what in ("manifest", "files/manifest.json", "difference?since=x"):
        assert raw_get(served, f"/sponsor/snapshots/{name}/{what}").split(b" ", 2)[1] in (b"404", b"400")


def damaged(served: Served, path: str, name: str) -> None:
    problem(served.get(f"snapshots/{name}/files/{path}"), 500, "damaged")
    actor, what, told = served.told()[-1]
    assert (actor, what, told["status"], told["bytes"]) == ("statistics", f"{name}/{path}", 500, 0)
    assert told["refused"] == "damaged"


def test_a_link_is_not_followed(served: Served) -> None:
    name = shelve(served.snapshots)
    secret = served.root / "secret"
    secret.write_bytes(CSV)  # the very bytes: only that it is a link tells
    file = served.snapshots / name / "csv" / "lb.csv"
    file.unlink()
    file.symlink_to(secret)
    damaged(served, "csv/lb.csv", name)
    file.unlink()
    file.parent.rmdir()
    (served.root / "csv").mkdir()
    (served.root / "csv" / "lb.csv").write_bytes(CSV)
    file.parent.symlink_to(served.root / "csv")
    damaged(served, "csv/lb.csv", name)


def test_a_snapshot_that_is_a_link_is_damaged(served: Served) -> None:
    name = shelve(served.snapshots)
    (served.snapshots / name).rename(served.root / name)
    (served.snapshots / name).symlink_to(served.root / name)
    damaged(served, "csv/lb.csv", name)


def test_other_bytes_than_the_manifest_names_are_not_sent(served: Served) -> None:
    name = shelve(served.snapshots)
    file = served.snapshots / name / "csv" / "lb.csv"
    assert served.get(f"snapshots/{name}/files/csv/lb.csv").content == CSV
    file.write_bytes(CSV.replace(b"001", b"002", 1))  # as long as before, and verified a moment ago
    damaged(served, "csv/lb.csv", name)
    file.write_bytes(CSV)
    assert served.get(f"snapshots/{name}/files/csv/lb.csv").content == CSV


@pytest.mark.parametrize(
    "what", ["missing", "short", "manifest changed", "manifest gone", "manifest no JSON"]
)
def test_half_a_snapshot_is_not_sent(served: Served, what: str) -> None:
    whole = shelve(served.snapshots, day="2018-01-01")
    name = shelve(served.snapshots)
    folder = served.snapshots / name
    if what == "missing":
        (folder / "define.xml").unlink()
    elif what == "short":
        (folder / "define.xml").write_bytes(b"<")
    elif what == "manifest gone":
        (folder / "manifest.json").unlink()
    elif what == "manifest no JSON":
        (folder / "manifest.json").write_bytes(b"{")
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace("sponsor", "research"))
    problem(served.get(f"snapshots/{name}/manifest"), 500, "damaged")
    damaged(served, "csv/lb.csv", name)
    assert [one["id"] for one in served.get("snapshots").json()["snapshots"]] == [whole]
    assert served.told()[-1][2]["damaged"] == [name]


def test_a_manifest_that_names_what_is_outside_is_damaged_even_with_the_right_hash(served: Served) -> None:
    (served.root / "lineage").mkdir()
    (served.root / "lineage" / "x").write_bytes(b"CANARY")
    for path in ("../../../lineage/x", "a/../b", "/etc/hostname", "a\\b", "C:x", "./a"):
        name = shelve(served.snapshots, {"csv/lb.csv": CSV})
        text = (served.snapshots / name / "manifest.json").read_text()
        data = text.replace('"csv/lb.csv"', json.dumps(path)).encode()
        forged = f"20190603-{sha256(data)[:12]}"
        shutil.copytree(served.snapshots / name, served.snapshots / forged)
        (served.snapshots / forged / "manifest.json").write_bytes(data)
        problem(served.get(f"snapshots/{forged}/manifest"), 500, "damaged")


def test_a_draft_is_not_there(served: Served) -> None:
    name = shelve(served.snapshots)
    shutil.copytree(served.snapshots / name, served.snapshots / f".{name}.draft-1")
    assert len(served.get("snapshots").json()["snapshots"]) == 1
    problem(served.get(f"snapshots/.{name}.draft-1/manifest"), 404, "not-found")


def test_a_made_gzip_that_was_tampered_with_is_made_again(served: Served) -> None:
    name = shelve(served.snapshots)
    path = f"snapshots/{name}/files/csv/lb.csv"
    assert served.get(path, Accept_Encoding="gzip").content == CSV
    (made,) = (one for one in (served.root / "served").iterdir() if "gzip" in one.name)
    assert made.stat().st_mode & 0o077 == 0
    made.write_bytes(gzip.compress(b"CANARY"))
    assert served.get(path, Accept_Encoding="gzip").content == CSV


def test_every_pull_is_in_the_audit_with_who_what_and_how_much(served: Served) -> None:
    name = shelve(served.snapshots)
    served.get("snapshots")
    served.get(f"snapshots/{name}/manifest")
    served.get("snapshots/latest/files/csv/lb.csv")
    served.get(f"snapshots/{name}/files/csv/lb.csv", Range="bytes=10-19")
    served.get(f"snapshots/{name}/files/csv/lb.csv", If_None_Match=f'"{sha256(CSV)}"')
    served.get(f"snapshots/{name}/files/csv/nothing.csv")
    served.get("elsewhere")
    manifest = (served.snapshots / name / "manifest.json").stat().st_size
    rows = [(actor, what, told["status"], told["bytes"]) for actor, what, told in served.told()]
    assert rows[1:] == [
        ("statistics", f"{name}/manifest.json", 200, manifest),
        ("statistics", f"{name}/csv/lb.csv", 200, len(CSV)),
        ("statistics", f"{name}/csv/lb.csv", 206, 10),
        ("statistics", f"{name}/csv/lb.csv", 304, 0),
        ("statistics", f"{name}/csv/nothing.csv", 404, 0),
        ("statistics", "sponsor", 404, 0),
    ]
    assert rows[0][:3] == ("statistics", "snapshots", 200)


def test_who_hangs_up_is_on_record_with_what_they_got(served: Served) -> None:
    name = shelve(served.snapshots, {"csv/lb.csv": b"0123456789abcdef" * 4_000_000})
    host, _, port = served.url.split("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as wire:
        wire.sendall(
            f"GET /sponsor/snapshots/{name}/files/csv/lb.csv HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {served.token}\r\n\r\n".encode()
        )
        wire.recv(1000)
    for _ in range(200):
        if len(served.told()) == 2:
            break
        time.sleep(0.05)
    begun, ended = served.told()
    assert begun[2]["bytes"] == 64_000_000
    assert ended[2]["cut_short"] is True
    assert 0 < ended[2]["bytes"] < 64_000_000


def test_a_file_changed_while_it_is_sent_does_not_end_like_a_whole_one(served: Served) -> None:
    name = shelve(served.snapshots, {"csv/lb.csv": b"0123456789abcdef" * 4_000_000})
    url = f"{served.url}/snapshots/{name}/files/csv/lb.csv"
    with requests.get(url, headers=served.headers(), stream=True, timeout=30) as got:
        got.raw.read(1000)
        with (served.snapshots / name / "csv" / "lb.csv").open("r+b") as stream:
            stream.seek(50_000_000)
            stream.write(b"CANARY")
        rest = b""
        with pytest.raises(Exception, match=r"(?i)incomplete|broken|reset"):  # noqa: PT012
            while part := got.raw.read(1 << 20):
                rest += part
        assert b"CANARY" not in rest


def test_wrong_tokens_have_to_wait_and_right_ones_do_not(served: Served) -> None:
    shelve(served.snapshots)
    wrong = {"Authorization": "Bearer sponsor_0123456789abcdef_" + "b" * 43}
    statuses = [requests.get(f"{served.url}/snapshots", headers=wrong, timeout=30) for _ in range(13)]
    assert [one.status_code for one in statuses] == [401] * 10 + [429] * 3
    problem(statuses[-1], 429, "too-many-wrong-tokens")
    assert 0 < int(statuses[-1].headers["Retry-After"]) <= 301
    assert served.get("snapshots").status_code == 200  # the same address, another token
    guess = {"Authorization": f"Bearer {served.token[:-1]}{'A' if served.token[-1] != 'A' else 'B'}"}
    assert [
        requests.get(f"{served.url}/snapshots", headers=guess, timeout=30).status_code for _ in range(11)
    ] == [401] * 10 + [429]
    assert (
        served.get("snapshots").status_code == 429
    )  # who guesses at this very token locks it for that address
    served.now[0] += timedelta(minutes=6)
    assert served.get("snapshots").status_code == 200
    assert requests.get(f"{served.url}/snapshots", headers=wrong, timeout=30).status_code == 401


def test_receipts_and_what_is_gone(served: Served) -> None:
    name, later = shelve(served.snapshots), shelve(served.snapshots, day="2019-09-01")
    problem(served.get(f"snapshots/{later}/difference"), 404, "no-pull")

    def receipt(said: object) -> requests.Response:
        return requests.put(
            f"{served.url}/snapshots/{name}/receipt", headers=served.headers(), json=said, timeout=30
        )

    for said in ({"manifest_sha256": "0" * 64}, {}, [], {"manifest_sha256": 1}):
        problem(receipt(said), 409, "other-manifest")
    problem(receipt({"manifest_sha256": "0" * 5000}), 413, "too-large")
    kept = sha256((served.snapshots / name / "manifest.json").read_bytes())
    assert receipt({"manifest_sha256": kept}).status_code == 204
    assert served.get("snapshots").json()["last_pull"] == name
    assert [(actor, what) for actor, what, _ in served.told("pulled")] == [("statistics", name)]
    shutil.rmtree(served.snapshots / name)
    problem(served.get(f"snapshots/{name}/manifest"), 410, "gone")
    problem(served.get(f"snapshots/{later}/difference"), 410, "gone")
    shutil.rmtree(served.snapshots / later)  # which this token never had
    problem(served.get(f"snapshots/{later}/manifest"), 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(served: Served, method: str) -> None:
    name = shelve(served.snapshots)
    for path in ("snapshots", f"snapshots/{name}/manifest", f"snapshots/{name}/files/csv/lb.csv"):
        got = requests.request(method, f"{served.url}/{path}", headers=served.headers(), timeout=30)
        assert got.status_code in (404, 405)
    assert (served.snapshots / name / "csv" / "lb.csv").read_bytes() == CSV


def test_nothing_is_sent_when_the_audit_cannot_be_written(served: Served) -> None:
    name = shelve(served.snapshots)
    with served.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_insert")
        connection.exec_driver_sql(
            "CREATE TRIGGER audit_full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    got = served.get(f"snapshots/{name}/files/csv/lb.csv")
    assert got.status_code >= 500
    assert b"USUBJID" not in got.content
