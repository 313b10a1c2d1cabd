"""``adapter pull`` and ``adapter.client`` on a real server, on lines that break, and killed in the middle."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from adapter.client import SponsorClient
from adapter.client import target as targets
from adapter.errors import (
    AdapterError,
    ConfigError,
    NotFound,
    PullRefused,
    PullUnavailable,
    PullUntrustworthy,
)
from adapter.web.app import create_app
from adapter.web.sponsor import Folders
from tests.servers.certificate import certificate
from tests.shelves import FILES, Cutter, Served, running, serving, shelve

ROOT = Path(__file__).resolve().parents[2]
# What no packing makes small, so that there is time to interrupt it.
NOISE = random.Random(5).randbytes(3_000_000)  # noqa: S311
LARGE = {
    **FILES,
    "csv/noise.csv": NOISE,
    "adam/csv/adsl.csv": b"STUDYID\n" * 1000,
    "adam/manifest.json": b"{}",
}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "workspace") as found:
        yield found


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda _self, _response=None: None)
    monkeypatch.setattr("adapter.client.client.fetch.__defaults__", (lambda _share: None, lambda _s: None))
    for name in ("ADAPTER_SPONSOR_TOKEN", "ADAPTER_SPONSOR_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def is_whole(folder: Path, served: Served, name: str) -> bool:
    return content(folder) == content(served.snapshots / name)


def beside(folder: Path) -> list[str]:
    """What a pull left beside its folder; its lock is empty and stays."""
    return sorted(one.name for one in folder.parent.iterdir() if one.name.startswith(f".{folder.name}."))


def pull(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from adapter.cli import main; main()", "pull", *words],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "COLUMNS": "110", "HOME": str(cwd), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_pull_brings_everything_and_tells_the_site(served: Served, tmp_path: Path) -> None:
    name = shelve(served.snapshots, LARGE)
    client = SponsorClient(served.url, served.token)
    done = client.pull(tmp_path / "data")
    assert is_whole(tmp_path / "data", served, name)
    assert (done.snapshot, done.files, done.bytes) == (name, 6, sum(map(len, LARGE.values())))
    assert 3_000_000 < done.came < done.bytes  # packed on the way
    assert (done.current, done.acknowledged, client.last_pull()) == (False, True, name)
    assert beside(tmp_path / "data") == [".data.lock"]
    again = client.pull(tmp_path / "data")
    assert (again.current, again.came) == (True, 0)


def test_a_damaged_copy_is_mended_by_the_next_pull(served: Served, tmp_path: Path) -> None:
    name = shelve(served.snapshots)
    client = SponsorClient(served.url, served.token)
    client.pull(tmp_path / "data")
    (tmp_path / "data" / "define.xml").write_bytes(b"<OMD/>")
    (tmp_path / "data" / "extra.txt").write_bytes(b"mine")
    assert client.pull(tmp_path / "data").came == len(FILES["define.xml"])
    assert is_whole(tmp_path / "data", served, name)


def test_the_next_snapshot_fetches_only_what_changed(served: Served, tmp_path: Path) -> None:
    shelve(served.snapshots, LARGE)
    client = SponsorClient(served.url, served.token)
    client.pull(tmp_path / "data")
    later = shelve(served.snapshots, {**LARGE, "define.xml": b"<ODM x=''/>"}, day="2019-07-01")
    assert {one.path: one.how for one in client.plan(tmp_path / "data")}["csv/noise.csv"] == "copy"
    done = client.pull(tmp_path / "data")
    assert (done.snapshot, done.came) == (later, len(b"<ODM x=''/>"))
    assert is_whole(tmp_path / "data", served, later)


@pytest.mark.parametrize("cuts", [[1], [400], [5000, 90_000], [200_000] * 8, [1_000_000, 0, 0, 1_000_000]])
def test_a_line_that_breaks_costs_only_what_was_on_it(
    served: Served, tmp_path: Path, cuts: list[int]
) -> None:
    name = shelve(served.snapshots, {"csv/noise.csv": NOISE})
    cutter = Cutter(served.url, list(cuts))
    with cutter.running() as url:
        done = SponsorClient(url, served.token).pull(tmp_path / "data")
    assert is_whole(tmp_path / "data", served, name)
    assert done.came < len(NOISE) + 10_000  # nothing came twice: gzip adds little to noise
    asked = [one for one in cutter.seen if "/files/" in one]
    resumed = [one for one in asked if "\r\nRange: bytes=" in one]
    assert all('\r\nIf-Range: "' in one for one in resumed)
    assert cutter.cuts == []
    assert bool(resumed) == (max(cuts) > 400)


def test_a_line_that_never_holds_is_told_in_the_end_and_what_came_is_kept(
    served: Served, tmp_path: Path
) -> None:
    name = shelve(served.snapshots, {"csv/noise.csv": NOISE})
    cutter = Cutter(served.url, [1_000_000, *[0] * 200])
    with cutter.running() as url:
        client = SponsorClient(url, served.token)
        with pytest.raises(PullUnavailable, match="goes on where it stopped"):
            client.pull(tmp_path / "data")
        assert not (tmp_path / "data").exists()
        assert client.plan(tmp_path / "data")[0].how == "resume"
        cutter.cuts.clear()
        assert client.pull(tmp_path / "data").came < 2_100_000
    assert is_whole(tmp_path / "data", served, name)


def test_killed_in_the_middle_it_goes_on_where_it_was(served: Served, tmp_path: Path) -> None:
    old = shelve(served.snapshots, day="2019-01-01")
    SponsorClient(served.url, served.token).pull(tmp_path / "data")
    name = shelve(served.snapshots, LARGE)
    cutter = Cutter(served.url, slow=0.02)
    kills = 0
    with cutter.running() as url:
        for _ in range(3):
            child = subprocess.Popen(
                [sys.executable, "-c", "from adapter.cli import main; main()", "pull", url, "--to", "data"],
                cwd=tmp_path,
                env={"PATH": "", "PYTHONPATH": str(ROOT), "ADAPTER_SPONSOR_TOKEN": served.token},
                stderr=(tmp_path / "said").open("w"),
            )
            parts, before = tmp_path / ".data.parts", size(tmp_path / ".data.parts")
            until = time.monotonic() + 60
            while size(parts) < before + 300_000 and child.poll() is None and time.monotonic() < until:
                time.sleep(0.01)
            child.kill()
            kills += child.wait() == -signal.SIGKILL
            assert size(parts) >= before + 300_000, (tmp_path / "said").read_text()
            assert is_whole(tmp_path / "data", served, old)  # the old one stays whole until the new one is
        cutter.slow = 0
        done = SponsorClient(url, served.token).pull(tmp_path / "data")
    assert kills == 3
    assert done.came < len(NOISE) - 3 * 300_000 + 20_000
    assert is_whole(tmp_path / "data", served, name)
    assert beside(tmp_path / "data") == [".data.lock"]


def size(parts: Path) -> int:
    return sum(one.stat().st_size for one in parts.glob("*") if not one.suffix) if parts.exists() else 0


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("step", range(4))
def test_killed_while_changing_places_one_of_the_two_is_whole(
    served: Served, tmp_path: Path, step: int, exchange: bool
) -> None:
    """Killed before each of the steps that put a folder in place; the next pull mends what is left."""
    old = shelve(served.snapshots, day="2019-01-01")
    client = SponsorClient(served.url, served.token)
    client.pull(tmp_path / "data")
    name = shelve(served.snapshots)
    child = os.fork()
    if child == 0:
        left = [step]

        def mortal(do: Any) -> Any:
            def doing(*words: Any, **more: Any) -> Any:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return do(*words, **more)

            return doing

        really = targets._exchange
        targets._exchange = mortal(really if exchange else lambda _one, _other: False)
        put = targets.Target.put_in_place

        def put_in_place(self: Any, manifest: bytes) -> None:
            Path.rename = mortal(Path.rename)  # type: ignore[method-assign]
            targets.shutil.rmtree = mortal(shutil.rmtree)  # type: ignore[attr-defined]
            put(self, manifest)

        targets.Target.put_in_place = put_in_place  # type: ignore[method-assign]
        try:
            client.pull(tmp_path / "data")
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    if exchange:
        assert is_whole(tmp_path / "data", served, old if step == 0 else name)
    client.pull(tmp_path / "data")
    assert is_whole(tmp_path / "data", served, name)
    assert beside(tmp_path / "data") == [".data.lock"]


def test_two_at_once_each_have_theirs(served: Served, tmp_path: Path) -> None:
    name = shelve(served.snapshots, LARGE)
    other = served.grant("other")
    failures: list[Exception] = []

    def run(folder: str, token: str) -> None:
        try:
            SponsorClient(served.url, token).pull(tmp_path / folder)
        except (AdapterError, OSError) as fault:
            failures.append(fault)

    threads = [
        threading.Thread(target=run, args=(f"data{number}", token))
        for number, token in enumerate((served.token, other, served.token, other))
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert failures == []
    assert all(is_whole(tmp_path / f"data{number}", served, name) for number in range(4))
    assert {actor for actor, _, _ in served.told("pulled")} == {"statistics", "other"}


def test_two_into_one_folder_are_one_too_many(served: Served, tmp_path: Path) -> None:
    shelve(served.snapshots)
    client = SponsorClient(served.url, served.token)
    with targets.Target(tmp_path / "data").held(), pytest.raises(PullUnavailable, match="another pull"):
        client.pull(tmp_path / "data")


def test_a_folder_with_other_files_is_left_alone(served: Served, tmp_path: Path) -> None:
    shelve(served.snapshots)
    client = SponsorClient(served.url, served.token)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.docx").write_bytes(b"years of work")
    with pytest.raises(ConfigError, match="replaces the whole folder"):
        client.pull(tmp_path / "data")
    assert content(tmp_path / "data") == {"thesis.docx": b"years of work"}
    for odd in (Path("/"), tmp_path / "data" / "thesis.docx"):
        with pytest.raises(ConfigError):
            client.pull(odd)


@contextmanager
def answering(answer: Any) -> Iterator[str]:
    """A server on loopback that answers as told: ``answer(path) -> (status, headers, body)``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *_words: Any) -> None:
            return None

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/sponsor"
        server.shutdown()


PROBLEM = {"Content-Type": "application/problem+json"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "said"),
    [
        (401, PROBLEM, b'{"detail":"it has expired"}', PullRefused, "401, it has expired"),
        (403, {}, b"<html>", PullRefused, "may not read datasets"),
        (404, {}, b"", PullRefused, "nothing of this name"),
        (410, {}, b"", PullRefused, "withdrew"),
        (429, {"Retry-After": "240"}, b"", PullRefused, "wait 240 seconds"),
        (429, {}, b"", PullRefused, "too many wrong tokens"),
        (500, PROBLEM, b'{"type":"urn:trial-fhir-adapter:problem:damaged"}', PullRefused, "tell the site"),
        (500, {}, b"", PullUnavailable, "goes on where it stopped"),
        (503, {"Retry-After": "1"}, b"", PullUnavailable, "goes on where it stopped"),
        (302, {"Location": "https://elsewhere.example/login"}, b"", PullUntrustworthy, "sign-in page"),
        (200, {"Content-Type": "text/html"}, b"<html>sign in</html>", PullUntrustworthy, "sign-in page"),
        (200, {"Content-Type": "application/json"}, b"{", PullUntrustworthy, "not what an adapter sends"),
        (200, {"Content-Type": "application/json"}, b"[" * 100_000, PullUntrustworthy, "not what an adapter"),
        (418, {}, b"", PullUntrustworthy, "makes no sense"),
        (401, PROBLEM, b"\xff{", PullRefused, "401"),
        (401, PROBLEM, b'["a list"]', PullRefused, "401"),
    ],
)
def test_a_refusal_is_told_in_words(
    status: int, headers: dict[str, str], body: bytes, kind: type[AdapterError], said: str
) -> None:
    with answering(lambda _path: (status, headers, body)) as url:
        with pytest.raises(kind) as told:
            SponsorClient(url, "a-secret-token").snapshots()
        assert said in str(told.value)
        assert "a-secret-token" not in str(told.value)


def test_what_fails_in_passing_is_tried_again() -> None:
    answers = [(503, {"Retry-After": "5"}, b""), (502, {}, b""), (500, {}, b"")]
    good = (200, {"Content-Type": "application/json"}, b'{"snapshots":[]}')
    with answering(lambda _path: answers.pop(0) if answers else good) as url:
        assert SponsorClient(url, "t").snapshots() == ()
    assert answers == []


def lying(files: dict[str, bytes], manifest: dict[str, Any] | None = None, **headers: str) -> Any:
    """A site whose manifest is sound and whose files are not."""
    told = {"csv/lb.csv": {"sha256": hashlib.sha256(b"true").hexdigest(), "bytes": 4}}
    data = json.dumps(manifest or {"datasets": [{"files": told}], "documents": {}}).encode()
    name = f"20190603-{hashlib.sha256(data).hexdigest()[:12]}"
    listing = {
        "id": name, "time": "", "study": "", "site": "", "profile": "", "manifest_sha256": "", "files": 1,
        "bytes": 4,
    }  # fmt: skip

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        plain = {"Content-Type": "application/json"}
        if path.endswith("/snapshots"):
            return 200, plain, json.dumps({"snapshots": [listing]}).encode()
        if path.endswith("/manifest"):
            return 200, plain, data
        return (
            200,
            {"ETag": '"x"', **{k.replace("_", "-"): v for k, v in headers.items()}},
            files["csv/lb.csv"],
        )

    return answer


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"lies", {}),
        (b"tru", {}),
        (b"true, and more", {}),
        (b"", {}),
        (gzip.compress(b"lies", mtime=0), {"Content_Encoding": "gzip"}),
        (gzip.compress(bytes(200_000_000), 1, mtime=0)[:60_000], {"Content_Encoding": "gzip"}),
        (
            gzip.compress(bytes(10_000_000), mtime=0),
            {"Content_Encoding": "gzip"},
        ),  # a bomb of 10 MB for 4 bytes
        (gzip.compress(b"true", mtime=0)[:-3], {"Content_Encoding": "gzip"}),
        (gzip.compress(b"true", mtime=0) + b"rubbish", {"Content_Encoding": "gzip"}),
        (b"no gzip", {"Content_Encoding": "gzip"}),
        (b"true", {"Content_Encoding": "br"}),
        (b"true" * 100_000, {}),
    ],
)
def test_other_bytes_than_the_manifest_names_are_never_put_in_place(
    tmp_path: Path, body: bytes, headers: dict[str, str]
) -> None:
    with answering(lying({"csv/lb.csv": body}, **headers)) as url, pytest.raises(PullUntrustworthy):
        SponsorClient(url, "t").pull(tmp_path / "data")
    assert not (tmp_path / "data").exists()
    assert not [one for one in tmp_path.rglob("*") if one.is_file() and one.stat().st_size > 2_000_000]


@pytest.mark.parametrize(
    "path",
    ["../escaped", "/etc/escaped", "a/../../escaped", "a\\b", "C:escaped", "manifest.json", "", "a\nb"],
)
def test_a_manifest_does_not_lead_out_of_the_folder(tmp_path: Path, path: str) -> None:
    told = {path: {"sha256": hashlib.sha256(b"true").hexdigest(), "bytes": 4}}
    site = lying({"csv/lb.csv": b"true"}, {"datasets": [{"files": told}]})
    with answering(site) as url, pytest.raises(PullUntrustworthy, match="cannot be kept"):
        SponsorClient(url, "t").pull(tmp_path / "data")
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_manifest_of_another_id_is_refused(served: Served) -> None:
    name = shelve(served.snapshots)
    good = lying({"csv/lb.csv": b"true"})

    def answer(path: str) -> Any:
        return good(path.replace(name, "x"))

    with answering(answer) as url, pytest.raises(PullUntrustworthy, match="not the one of this id"):
        SponsorClient(url, "t").manifest(name)


def test_a_changed_representation_starts_again_instead_of_being_mixed(served: Served, tmp_path: Path) -> None:
    """Half of it came as another gzip: If-Range does not match, so the server sends the whole."""
    name = shelve(served.snapshots, {"csv/noise.csv": NOISE})
    parts = tmp_path / ".data.parts"
    parts.mkdir()
    digest = hashlib.sha256(NOISE).hexdigest()
    (parts / digest).write_bytes(b"x" * 1000)
    (parts / f"{digest}.part").write_bytes(b'{"etag":"\\"of another\\"","encoding":"gzip"}')
    SponsorClient(served.url, served.token).pull(tmp_path / "data")
    assert is_whole(tmp_path / "data", served, name)


def test_the_token_comes_from_a_file_or_the_environment_and_nowhere_else(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelve(served.snapshots)
    with pytest.raises(ConfigError, match="no token"):
        SponsorClient(served.url)
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password CANARY\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    (tmp_path / "token").write_text(f"{served.token}\n")
    assert len(SponsorClient(served.url, token_file=tmp_path / "token").snapshots()) == 1
    monkeypatch.setenv("ADAPTER_SPONSOR_TOKEN", served.token)
    assert len(SponsorClient(served.url).snapshots()) == 1
    monkeypatch.setenv("ADAPTER_SPONSOR_TOKEN_FILE", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="cannot be read"):
        SponsorClient(served.url)
    with pytest.raises(ConfigError, match="no token"):
        SponsorClient(served.url, "two words")


@pytest.mark.parametrize(
    "url",
    [
        "http://adapter.hospital.example/sponsor",
        "ftp://x/sponsor",
        "sponsor",
        "https://u:p@x/",
        "http://[",
        "",
    ],
)
def test_a_token_is_not_sent_in_the_clear(url: str) -> None:
    with pytest.raises(ConfigError) as told:
        SponsorClient(url, "t")
    assert "u:p" not in str(told.value)


def test_certificates_are_verified(served: Served, tmp_path: Path) -> None:
    shelve(served.snapshots)
    private, public = certificate(tmp_path, 300)
    folders = Folders(served.snapshots, served.root / "served")
    app = create_app(served.engine, lambda: served.now[0], packages=folders)
    with running(app, ssl_keyfile=private, ssl_certfile=public) as origin:
        with pytest.raises(PullUntrustworthy, match="certificate"):
            SponsorClient(f"{origin}/sponsor", served.token).snapshots()
        assert len(SponsorClient(f"{origin}/sponsor", served.token, ca_file=public).snapshots()) == 1


def test_the_command(served: Served, tmp_path: Path) -> None:
    name = shelve(served.snapshots)
    (tmp_path / "token").write_text(served.token)
    given = (served.url, "--token-file", "token")
    said = [pull(*given, "--list", "--json", cwd=tmp_path), pull(*given, "--list", cwd=tmp_path)]
    assert json.loads(said[0].stdout)[0]["id"] == name
    plan = pull(*given, "--to", "data", "--dry-run", "--json", cwd=tmp_path)
    assert [(one["path"], one["how"]) for one in json.loads(plan.stdout)] == [
        (path, "fetch") for path in sorted(FILES)
    ]
    said += [plan, pull(*given, "--to", "data", "--dry-run", cwd=tmp_path)]
    assert "nothing was" in said[-1].stdout
    assert not [one for one in tmp_path.iterdir() if "data" in one.name]
    said.append(pull(*given, "--to", "data", "--json", cwd=tmp_path))
    done = json.loads(said[-1].stdout)
    assert (done["snapshot"], done["current"], done["acknowledged"]) == (name, False, True)
    assert is_whole(tmp_path / "data", served, name)
    said.append(pull(*given, "--to", "data", cwd=tmp_path))
    assert "there already" in said[-1].stdout
    refused = pull(served.url, "--to", "data", cwd=tmp_path, ADAPTER_SPONSOR_TOKEN="wrong-token")
    assert (refused.returncode, "ask the site for a new one" in refused.stderr) == (77, True)
    nowhere = pull("http://127.0.0.1:9/sponsor", "--list", "--token-file", "token", cwd=tmp_path)
    assert (nowhere.returncode, "run the same command later" in nowhere.stderr) == (75, True)
    missing = pull(*given, cwd=tmp_path)
    assert (missing.returncode, "--to" in missing.stderr) == (78, True)
    for one in (*said, refused, nowhere, missing):
        assert "Traceback" not in one.stderr
        assert served.token not in one.stdout + one.stderr
        assert "wrong-token" not in one.stdout + one.stderr


def test_the_client_needs_nothing_of_the_server() -> None:
    barred = ("fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "typer", "lxml", "scipy", "pandas")
    program = (
        "import sys\n"
        f"for name in {barred}: sys.modules[name] = None\n"
        "from adapter.client import SponsorClient\n"
        "print(SponsorClient('https://x.example/sponsor', 't').snapshots.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "snapshots\n"


def test_no_snapshot_yet(served: Served, tmp_path: Path) -> None:
    client = SponsorClient(served.url, served.token)
    assert client.snapshots() == ()
    with pytest.raises(NotFound, match="no snapshot yet"):
        client.pull(tmp_path / "data")
    with pytest.raises(NotFound, match="is called"):
        client.manifest("../x")


def test_nothing_of_a_token_is_in_a_log(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    shelve(served.snapshots)
    caplog.set_level("DEBUG")
    SponsorClient(served.url, served.token).pull(tmp_path / "data")
    requests.get(f"{served.url}/snapshots", headers={"Authorization": "Bearer canary-token"}, timeout=30)
    printed = "".join(capfd.readouterr())
    assert "csv/lb.csv" in caplog.text
    for secret in (served.token.rpartition("_")[2], "canary-token"):
        assert secret not in caplog.text + printed
