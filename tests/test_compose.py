"""docker-compose.yml and the Dockerfile: read by Compose itself where there is one, by their rules always."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import yaml
from sqlalchemy import make_url

from adapter.config import Site

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
    assert set(compose["services"]) == {
        "adapter", "adapter-postgres", "hapi", "hapi-answers", "keycloak", "mail", "postgres", "rounds",
    }  # fmt: skip
    assert [name for name, one in compose["services"].items() if "profiles" in one] == ["mail"]


def test_the_adapter_keeps_its_database_apart_from_the_hospitals(compose: dict[str, Any]) -> None:
    """Its address, password and all, comes from a file; checkpoints lie on another volume than its tables."""
    adapter, own = compose["services"]["adapter"], compose["services"]["adapter-postgres"]
    assert adapter["environment"]["ADAPTER_DATABASE_URL_FILE"] == "/run/secrets/adapter_database_url"
    assert "adapter_database_url" in adapter["secrets"]
    assert adapter["depends_on"]["adapter-postgres"] == {"condition": "service_healthy"}
    assert own["volumes"] == ["adapter-postgres-data:/var/lib/postgresql/data"]
    assert "ports" not in own
    (mounted,) = [one.partition(":")[2] for one in adapter["volumes"] if not one.startswith("./")]
    assert adapter["environment"]["ADAPTER_AUDIT_CHECKPOINTS"].startswith(f"{mounted}/")


def test_the_address_that_make_writes_is_one_the_adapter_reads(tmp_path: Path) -> None:
    """User, host and database of ``make secrets`` are those of the compose file."""
    (tmp_path / "secrets").mkdir()
    drawn(tmp_path)
    url = make_url((tmp_path / "secrets" / "adapter_database_url").read_text())
    password = (tmp_path / "secrets" / "adapter_db_password").read_text()
    assert (url.username, url.password, url.host, url.database) == (
        "adapter", password, "adapter-postgres", "adapter",
    )  # fmt: skip
    assert len(password) == 64


def drawn(folder: Path) -> Path:
    """What ``make secrets`` writes, in a folder of its own."""
    run = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), "secrets", f"PYTHON={sys.executable}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return folder / "secrets"


def test_secrets_are_drawn_once_and_for_everybody(tmp_path: Path) -> None:
    secrets = drawn(tmp_path)
    first = {path.name: path.read_bytes() for path in secrets.iterdir()}
    people = dict(line.split("\t") for line in first["demo_people"].decode().splitlines())
    realm = json.loads(first["realm.json"])
    told = {one["username"]: one["credentials"][0]["value"] for one in realm["users"]}
    assert people == told
    assert len(set(people.values())) == len(people) == 6
    assert min(map(len, people.values())) >= 20
    assert realm["clients"][0]["secret"] == first["openid_client"].decode()
    assert secrets.stat().st_mode & 0o077 == 0, "others read them"
    assert {path.name: path.read_bytes() for path in drawn(tmp_path).iterdir()} == first
    (tmp_path / "again").mkdir()
    again = json.loads((drawn(tmp_path / "again") / "realm.json").read_text())
    assert again["clients"][0]["secret"] != realm["clients"][0]["secret"]


def test_no_password_stands_in_the_realm_of_the_repository() -> None:
    text = (ROOT / "deploy" / "realm.json").read_text(encoding="utf-8")
    assert "credentials" not in text
    assert '"secret"' not in text
    (client,) = json.loads(text)["clients"]
    assert client["attributes"]["pkce.code.challenge.method"] == "S256"
    ways_around = (
        "publicClient",
        "implicitFlowEnabled",
        "directAccessGrantsEnabled",
        "serviceAccountsEnabled",
    )
    assert not any(client[name] for name in ways_around)


def test_the_issuer_has_one_name_for_browsers_and_for_the_adapter(compose: dict[str, Any]) -> None:
    """OpenID Connect Discovery 1.0, 4.3: compared to the letter, so both have to find it by one name."""
    site = msgspec.convert(tomllib.loads((ROOT / "deploy" / "site.toml").read_text(encoding="utf-8")), Site)
    assert site.sign_in.openid is not None
    issuer = httpx.URL(site.sign_in.openid.issuer)
    keycloak, adapter = compose["services"]["keycloak"], compose["services"]["adapter"]
    realm = json.loads((ROOT / "deploy" / "realm.json").read_text(encoding="utf-8"))
    assert str(issuer) == f"{keycloak['environment']['KC_HOSTNAME']}/realms/{realm['realm']}"
    assert keycloak["networks"]["sign-in"]["aliases"] == [issuer.host]
    assert "sign-in" in adapter["networks"]
    assert issuer.host.endswith(".localhost"), "RFC 6761, 6.3: a browser takes it for its own machine"
    assert keycloak["ports"] == [f"127.0.0.1:{issuer.port}:{issuer.port}"]
    (client,) = realm["clients"]
    assert client["clientId"] == site.sign_in.openid.client_id
    assert client["redirectUris"] == [f"{site.sign_in.public_url}/sign-in/openid/answer"]
    assert {one.value for one in site.sign_in.openid.roles} == {one["name"] for one in realm["groups"]}


def test_the_site_is_the_demo_site_but_for_where_and_who() -> None:
    def read(path: Path) -> dict[str, Any]:
        return tomllib.loads(path.read_text(encoding="utf-8"))

    here, demo = read(ROOT / "deploy/site.toml"), read(ROOT / "mappings/sites/demo/site.toml")
    own = {"approval", "base_url", "digest", "sign_in"}
    assert {key: here[key] for key in here.keys() - own} == {key: demo[key] for key in demo.keys() - own}


def test_files_of_secrets_that_the_site_names_are_given_to_who_reads_them(compose: dict[str, Any]) -> None:
    text = (ROOT / "deploy" / "site.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'"/run/secrets/(\w+)"', text))
    assert named == {"openid_client", "tls_certificate"}
    for name in ("adapter", "rounds"):
        assert named <= set(compose["services"][name]["secrets"])


def test_services_gain_nothing_and_write_only_where_they_must(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service
        if "postgres" not in name:  # its entry point gives its folder to the user it goes on as
            assert service["cap_drop"] == ["ALL"], name


def test_a_service_reaches_only_what_it_works_with(compose: dict[str, Any]) -> None:
    members: dict[str, set[str]] = {}
    for name, service in compose["services"].items():
        for network in service["networks"]:
            members.setdefault(network, set()).add(name)
    assert members == {
        "hapi-database": {"hapi", "postgres"},
        "adapter-database": {"adapter", "adapter-postgres", "rounds"},
        "records": {"adapter", "hapi", "hapi-answers", "rounds"},
        "sign-in": {"adapter", "keycloak"},
        "mail": {"mail", "rounds"},
    }
    assert all(compose["networks"][name] == {"internal": True} for name in members if "database" in name)


def test_whoever_waits_waits_for_health(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other, rule in service.get("depends_on", {}).items():
            check = services[other].get("healthcheck", {"disable": True})
            expected = {"service_started", "service_completed_successfully"}
            if "test" in check:
                expected = {"service_healthy"}
            assert rule["condition"] in expected, f"{name} waits for {other}"
    waits = services["rounds"]["depends_on"]
    assert waits["hapi-answers"] == {"condition": "service_completed_successfully"}
    assert services["hapi-answers"]["restart"] == "on-failure", "asked again until it answers"
    assert "/readyz" in " ".join(services["adapter"]["healthcheck"]["test"])


def test_rounds_are_those_of_the_command(compose: dict[str, Any]) -> None:
    assert compose["services"]["rounds"]["command"] == ["adapter", "run", "--every", "24"]
    assert compose["services"]["rounds"]["volumes"] == compose["services"]["adapter"]["volumes"]


def test_images_are_pinned_to_a_version(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), f"{name}: {service['image']} is not pinned"
    for file in ("Dockerfile", "deploy/keycloak.Dockerfile"):
        base = re.search(r"^FROM (\S+)", (ROOT / file).read_text(), re.MULTILINE)
        assert base
        assert re.search(r":\d+\.\d+", base[1])
    assert compose["services"]["keycloak"]["image"].endswith(base[1].partition(":")[2])


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
                assert "FILE" in variable.split("_") or str(value).startswith("/run/secrets/"), (
                    f"{name}: {variable} holds a value, not a file"
                )
                assert str(value).startswith("/run/secrets/")
            assert not re.search(r"//[^/@]*:[^/@]*@", str(value)), f"{name}: {variable} carries credentials"
    assert all(set(secret) == {"file"} for secret in compose["secrets"].values())


def test_secrets_and_volumes_used_are_declared(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        used = {s if isinstance(s, str) else s["source"] for s in service.get("secrets", [])}
        assert used <= set(compose["secrets"]), name
        for volume in service.get("volumes", []):
            source, _, mode = volume.partition(":")
            assert source in compose["volumes"] or ((ROOT / source).exists() and mode.endswith(":ro")), name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert "127.0.0.1:8765:8765" in ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_adapter_runs_without_root_and_is_asked_for_its_health(compose: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    users = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)
    assert users[-1:] == ["adapter"]
    assert "/src[postgres]" in dockerfile
    assert "http://127.0.0.1:8765/healthz" in dockerfile


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_secret_files_cannot_be_committed() -> None:
    names = [
        f"secrets/{name}"
        for name in ("db_password", "adapter_database_url", "realm.json", "demo_people", "tls_key.pem")
    ]
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ignored.stdout.split() == names
