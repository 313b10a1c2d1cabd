"""docker-compose.yml and the Dockerfile: read by Compose itself where there is one, by their rules always."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def compose_command() -> list[str] | None:
    """``docker compose`` (plugin) or ``docker-compose``, None without either; no engine is needed."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], capture_output=True, check=False)
            if version.returncode == 0:
                return command
    return None


def test_compose_itself_accepts_the_file() -> None:
    command = compose_command()
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed; the rules below still hold")
    run = subprocess.run(
        [*command, "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, ""), run.stderr


def test_the_services_are_there(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"adapter", "adapter-postgres", "hapi", "postgres"}


def test_the_adapter_keeps_its_database_apart_from_the_hospitals(compose: dict[str, Any]) -> None:
    """Its address, password and all, comes from a file; checkpoints lie on another volume than its tables."""
    adapter, own = compose["services"]["adapter"], compose["services"]["adapter-postgres"]
    assert adapter["environment"]["ADAPTER_DATABASE_URL_FILE"] == "/run/secrets/adapter_database_url"
    assert "adapter_database_url" in adapter["secrets"]
    assert adapter["depends_on"]["adapter-postgres"] == {"condition": "service_healthy"}
    assert own["volumes"] == ["adapter-postgres-data:/var/lib/postgresql/data"]
    assert "ports" not in own
    (mounted,) = [volume.partition(":")[2] for volume in adapter["volumes"]]
    assert adapter["environment"]["ADAPTER_AUDIT_CHECKPOINTS"].startswith(f"{mounted}/")


def test_the_address_that_make_writes_is_one_the_adapter_reads(tmp_path: Path) -> None:
    """User, host and database of ``make secrets`` are those of the compose file."""
    (tmp_path / "secrets").mkdir()
    run = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), "secrets", f"PYTHON={sys.executable}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    url = make_url((tmp_path / "secrets" / "adapter_database_url").read_text())
    password = (tmp_path / "secrets" / "adapter_db_password").read_text()
    assert (url.username, url.password, url.host, url.database) == (
        "adapter", password, "adapter-postgres", "adapter",
    )  # fmt: skip
    assert len(password) == 64


def test_images_are_pinned_to_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), f"{name}: {service['image']} is not pinned"
    base = re.search(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    assert re.search(r":\d+\.\d+", base[1])


def test_postgres_is_16_and_hapi_is_the_version_the_contract_tests_run(compose: dict[str, Any]) -> None:
    pom = (ROOT / "tests/servers/hapi/pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<hapi.version>([\d.]+)</hapi.version>", pom)
    assert version
    assert compose["services"]["hapi"]["image"].startswith(f"hapiproject/hapi:v{version[1]}")
    for name in ("postgres", "adapter-postgres"):
        assert compose["services"][name]["image"].startswith("postgres:16.")


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    secret_word = re.compile("password|token|secret|key|database_url", re.IGNORECASE)
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if secret_word.search(variable):
                assert variable.endswith("_FILE"), f"{name}: {variable} holds a value, not a file"
                assert str(value).startswith("/run/secrets/")
            assert not re.search(r"//[^/@]*:[^/@]*@", str(value)), f"{name}: {variable} carries credentials"
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())


def test_secrets_and_volumes_used_are_declared(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        used = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
        assert used <= set(compose["secrets"]), name
        assert {v.partition(":")[0] for v in service.get("volumes", [])} <= set(compose["volumes"]), name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert "127.0.0.1:8765:8765" in ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_adapter_runs_without_root_and_is_asked_for_its_health(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    assert users[-1:] == ["adapter"]
    assert "/src[postgres]" in dockerfile
    assert "http://127.0.0.1:8765/healthz" in " ".join(compose["services"]["adapter"]["healthcheck"]["test"])


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_secret_files_cannot_be_committed() -> None:
    names = [
        f"secrets/{name}"
        for name in ("db_password", "adapter_db_password", "adapter_database_url", "pseudonym_key")
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ignored.stdout.split() == names
