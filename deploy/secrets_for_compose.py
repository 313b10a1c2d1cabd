"""The secrets of docker-compose.yml, and the realm of its identity provider: ``make secrets``.

``python deploy/secrets_for_compose.py FOLDER`` writes what FOLDER does not have yet; what is there stays.
Nobody has a password that somebody else could know: they are drawn here, written to ``demo_people`` for who
tries it out, and nowhere else. The files are for containers that run as other users, so the folder keeps
others out.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# ``login.localhost`` is one name for the browser (RFC 6761: this machine) and the containers (its network
# alias), as an issuer has to be; ``mail`` is the server of digests for trying out.
NAMES = ("login.localhost", "localhost", "mail")
DAYS = 825
PASSWORD_BYTES = 18


def write(folder: Path) -> None:
    """Write what is missing; raises SystemExit without ``openssl``."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    for name in ("db_password", "adapter_db_password", "pseudonym_key", "openid_client"):
        _keep(folder / name, secrets.token_hex(32))
    password = (folder / "adapter_db_password").read_text()
    _keep(folder / "adapter_database_url", f"postgresql://adapter:{password}@adapter-postgres:5432/adapter")
    if not (folder / "realm.json").exists():
        realm, people = drawn((folder / "openid_client").read_text())
        (folder / "realm.json").write_text(json.dumps(realm, indent=1, ensure_ascii=False) + "\n")
        (folder / "demo_people").write_text("".join(f"{name}\t{word}\n" for name, word in people.items()))
    if not (folder / "tls_key.pem").exists():
        certify(folder / "tls_certificate.pem", folder / "tls_key.pem")


def drawn(client_secret: str) -> tuple[dict, dict[str, str]]:
    """``realm.json`` with a secret for the client and a password for each person, and these passwords."""
    realm = json.loads((HERE / "realm.json").read_text(encoding="utf-8"))
    (client,) = realm["clients"]
    client["secret"] = client_secret
    people = {one["username"]: secrets.token_urlsafe(PASSWORD_BYTES) for one in realm["users"]}
    for one in realm["users"]:
        one["credentials"] = [{"type": "password", "value": people[one["username"]], "temporary": False}]
    return realm, people


def certify(certificate: Path, key: Path) -> None:
    """A certificate of this machine alone for :data:`NAMES`, its own authority. Source: RFC 5280, 4.2.1."""
    names = ",".join(f"DNS:{name}" for name in NAMES)
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", str(DAYS), "-subj", f"/CN={NAMES[0]}", "-addext", f"subjectAltName={names}",
        "-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-addext", "extendedKeyUsage=serverAuth",
        # whoever trusts it trusts it for these names, and for no other server
        "-addext", "nameConstraints=critical,permitted;DNS:localhost,permitted;DNS:mail",
        "-keyout", str(key), "-out", str(certificate),
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    except FileNotFoundError:
        raise SystemExit("openssl was not found: the identity provider needs a certificate") from None
    except subprocess.CalledProcessError as fault:
        raise SystemExit(f"openssl made no certificate: {fault.stderr.decode(errors='replace')}") from None
    key.chmod(0o644)


def _keep(path: Path, content: str) -> None:
    if not path.exists() or not path.stat().st_size:
        path.write_text(content)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
