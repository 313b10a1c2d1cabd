"""Keycloak, the identity provider of docker-compose.yml, with the very realm it gets there.

``python -m tests.servers.keycloak`` starts one with people drawn anew; ``--prefetch`` downloads it (180 MB,
Maven Central) and settles its options as ``deploy/keycloak.Dockerfile`` does, into ``.servers/keycloak/``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.servers import command, hapi
from tests.servers.npm import SERVERS
from tests.servers.process import ServerUnavailable, started

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CACHE = SERVERS / "keycloak"
LOG = CACHE / "server.log"
DOCKERFILE = (DEPLOY / "keycloak.Dockerfile").read_text(encoding="utf-8")
(VERSION,) = re.findall(r"^FROM \S+:(\S+)$", DOCKERFILE, re.MULTILINE)
(OPTIONS,) = re.findall(r"kc\.sh build (.+)$", DOCKERFILE, re.MULTILINE)
SHA256 = "27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f"
URL = f"https://repo.maven.apache.org/maven2/org/keycloak/keycloak-quarkus-dist/{VERSION}/keycloak-quarkus-dist-{VERSION}.zip"
DOWNLOAD_SECONDS, BUILD_SECONDS = 600, 300
START_SECONDS = 240  # about 10 s on two idle cores


def prefetch() -> Path:
    """Download, unpack and build unless done; the folder. Raises ServerUnavailable if it cannot be."""
    if reason := hapi.missing_runtime():
        raise ServerUnavailable(reason)
    home, built = CACHE / f"keycloak-{VERSION}", CACHE / "built-with"
    if not (built.exists() and built.read_text() == f"{SHA256} {OPTIONS}" and home.is_dir()):
        CACHE.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(home, ignore_errors=True)
        with tempfile.TemporaryFile(dir=CACHE) as archive:
            _download(archive)
            with zipfile.ZipFile(archive) as files:
                files.extractall(CACHE)
        run = ["bash", str(home / "bin" / "kc.sh"), "build", *OPTIONS.split()]
        try:
            subprocess.run(run, check=True, capture_output=True, text=True, timeout=BUILD_SECONDS)
        except (OSError, subprocess.SubprocessError) as fault:
            raise ServerUnavailable(f"Keycloak could not be built ({fault})") from fault
        built.write_text(f"{SHA256} {OPTIONS}")
    return home


def _download(archive: tempfile._TemporaryFileWrapper[bytes]) -> None:
    digest = hashlib.sha256()
    try:
        with httpx.stream("GET", URL, timeout=DOWNLOAD_SECONDS) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                digest.update(part)
                archive.write(part)
    except httpx.HTTPError as fault:
        raise ServerUnavailable(f"Keycloak could not be downloaded ({type(fault).__name__})") from fault
    if digest.hexdigest() != SHA256:
        raise ServerUnavailable(f"{URL} is not the file it was")


@contextmanager
def running(secrets: Path, port: int = 0) -> Iterator[str]:
    """The issuer of the realm in ``secrets``, a folder that ``deploy/secrets_for_compose.py`` filled.

    It is called ``localhost``, since not every machine knows ``login.localhost`` outside of containers.
    """
    home = prefetch()
    port, health = port or _free(), _free()
    with tempfile.TemporaryDirectory(prefix="keycloak-") as folder:
        own = Path(folder)
        for name in ("bin", "conf", "lib", "providers", "themes"):
            (own / name).symlink_to(home / name)
        (own / "data" / "import").mkdir(parents=True)
        shutil.copy(secrets / "realm.json", own / "data" / "import" / "hospital-realm.json")
        base = f"https://localhost:{port}"
        server = [
            "java", "-Xmx768m", f"-Dkc.home.dir={own}",
            "-Djava.util.logging.manager=org.jboss.logmanager.LogManager",
            "-cp", str(home / "lib" / "quarkus-run.jar"), "io.quarkus.bootstrap.runner.QuarkusEntryPoint",
        ]  # fmt: skip
        arguments = [
            "start", "--optimized", "--cache=local", "--import-realm", f"--hostname={base}",
            f"--https-port={port}",
            "--http-host=127.0.0.1", f"--https-certificate-file={secrets / 'tls_certificate.pem'}",
            f"--https-certificate-key-file={secrets / 'tls_key.pem'}", "--http-management-scheme=http",
            "--http-management-host=127.0.0.1", f"--http-management-port={health}",
        ]  # fmt: skip
        script = (
            '"$@" >&2 & child=$!; '
            f"until (exec 3<>/dev/tcp/127.0.0.1/{health} && "
            'printf "GET /health/ready HTTP/1.0\\r\\n\\r\\n" >&3 && '
            'read -r line <&3 && [[ $line == *" 200 "* ]]) 2>/dev/null; '
            "do kill -0 $child || exit 1; sleep 1; done; "
            f"echo READY {base}/realms/hospital; read -r _; kill $child; wait $child"
        )
        run = ["bash", "-c", script, "keycloak", *server, *arguments]
        with started(run, log=LOG, seconds=START_SECONDS, cwd=own) as issuer:
            yield issuer


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextmanager
def _by_hand(port: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="keycloak-secrets-") as folder:
        draw_secrets(Path(folder))
        print((Path(folder) / "demo_people").read_text(), file=sys.stderr)
        with running(Path(folder), port) as issuer:
            yield issuer


def draw_secrets(folder: Path) -> None:
    """What ``make secrets`` writes, into a folder of the test's own."""
    script = str(DEPLOY / "secrets_for_compose.py")
    made = subprocess.run(
        [sys.executable, script, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    if made.returncode != 0:
        raise ServerUnavailable(made.stderr.strip())


if __name__ == "__main__":
    sys.exit(command.main(__doc__, prefetch, _by_hand, port=8443, log=LOG))
