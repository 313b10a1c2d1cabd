"""Keys: made, kept from others, read in every form that is passed around, rotated, and refused when unfit.

Forms of keys come from openssl, not from the library that reads them. The thumbprint is of RFC 7638, 3.1,
the fitness of keys that of RFC 7518, 3.3 and 3.4.
"""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from adapter.cli.app import app
from adapter.errors import ConfigError
from adapter.source.auth import keys
from adapter.source.auth.keys import PRIVATE, PUBLIC, add_key, load_keys, new_key, public_set, retire_key

SECRET = {"d", "p", "q", "dp", "dq", "qi", "k"}


def openssl(tmp_path: Path, *arguments: str) -> Path:
    made = tmp_path / "made.pem"
    subprocess.run(["openssl", *arguments, "-out", str(made)], check=True, capture_output=True)
    return made


FIT = {
    "RSA 2048": (("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"), "RS384"),
    "P-384": (("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"), "ES384"),
    "P-384, old form": (("ecparam", "-name", "secp384r1", "-genkey", "-noout"), "ES384"),
}
UNFIT = {
    "RSA 1024": (("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "1024 bits"),
    "P-256": (("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "P-384"),
    "Ed25519": (("genpkey", "-algorithm", "ed25519"), "no RSA or EC"),
    "password": (
        ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-aes256", "-pass", "pass:x"),
        "password",
    ),
}


@pytest.mark.parametrize(("arguments", "algorithm"), FIT.values(), ids=FIT)
def test_a_key_that_openssl_made(tmp_path: Path, arguments: tuple[str, ...], algorithm: str) -> None:
    (key,) = load_keys(openssl(tmp_path, *arguments), key_id="ours")
    assert (key.algorithm, key.kid) == (algorithm, "ours")


def test_a_dry_run_makes_and_retires_nothing(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["keys", *arguments, "--out", str(tmp_path / "k"), "--dry-run"])
        assert done.exit_code == 0, done.output
        return done.output

    assert "would put a new ES384 key before none" in said("new").replace("\n", "")
    assert not (tmp_path / "k").exists()
    older, newer = add_key(tmp_path / "k", "ES384"), add_key(tmp_path / "k", "ES384")
    before = (tmp_path / "k" / PRIVATE).read_bytes()
    assert json.loads(said("new", "--json"))["before"] == [newer.kid, older.kid]
    assert f"would be left: {newer.kid}" in said("retire", older.kid).replace("\n", "")
    assert (tmp_path / "k" / PRIVATE).read_bytes() == before


@pytest.mark.parametrize(("arguments", "why"), UNFIT.values(), ids=UNFIT)
def test_a_key_that_is_not_fit(tmp_path: Path, arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_keys(openssl(tmp_path, *arguments))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "neither PEM nor JWK"),
        ("{}", "no RSA or EC"),
        ("[]", "neither PEM nor JWK"),
        ('{"keys": []}', "neither PEM nor JWK"),
        ('{"keys": ["x"]}', "neither PEM nor JWK"),
        ('{"kty": "oct", "k": "c2VjcmV0"}', "no RSA or EC"),
        ("-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----", "no RSA or EC"),
        (json.dumps(new_key("ES384").public()), "public half"),
        (json.dumps(new_key("ES384").private() | {"alg": "ES256"}), "ES256"),
    ],
)
def test_a_file_that_holds_no_private_key(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError, match=why) as caught:
        load_keys(path)
    assert "c2VjcmV0" not in str(caught.value)
    assert caught.value.fix


def test_the_thumbprint_is_that_of_the_standard(tmp_path: Path) -> None:
    """The RSA key of RFC 7638, 3.1 and its printed thumbprint; only the public half is known there."""
    from joserfc.jwk import RSAKey

    printed = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4"
        "n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0"
        "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-c"
        "sFCur-kEgU8awapJzKnqDKgw"
    )
    key = RSAKey.import_key({"kty": "RSA", "n": printed, "e": "AQAB"})
    assert key.thumbprint() == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize("algorithm", ["ES384", "RS384"])
def test_a_new_key_is_readable_by_its_owner_alone(tmp_path: Path, algorithm: keys.Algorithm) -> None:
    folder = tmp_path / "keys"
    made = add_key(folder, algorithm)
    assert stat.S_IMODE((folder / PRIVATE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    published = json.loads((folder / PUBLIC).read_text())
    assert [(key["kid"], key["alg"], key["use"]) for key in published["keys"]] == [
        (made.kid, algorithm, "sig")
    ]
    assert not SECRET & published["keys"][0].keys()
    assert [key.kid for key in load_keys(folder / PRIVATE)] == [made.kid]


def test_rotation_keeps_the_old_key_until_it_is_retired(tmp_path: Path) -> None:
    old, new = add_key(tmp_path, "RS384"), add_key(tmp_path, "ES384")
    assert [key.kid for key in load_keys(tmp_path / PRIVATE)] == [new.kid, old.kid]
    assert len(json.loads((tmp_path / PUBLIC).read_text())["keys"]) == 2
    assert [key.kid for key in load_keys(tmp_path / PRIVATE, key_id=old.kid)] == [old.kid]
    assert [key.kid for key in load_keys(tmp_path / PRIVATE, algorithm="ES384")] == [new.kid]
    retire_key(tmp_path, old.kid)
    assert public_set(load_keys(tmp_path / PRIVATE)) == json.loads((tmp_path / PUBLIC).read_text())
    for wrong in (old.kid, new.kid):
        with pytest.raises(ConfigError):
            retire_key(tmp_path, wrong)
    assert stat.S_IMODE((tmp_path / PRIVATE).stat().st_mode) == 0o600


def test_the_commands(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["keys", *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    folder = str(tmp_path / "keys")
    told = json.loads(run("new", "--out", folder, "--alg", "RS384", "--json"))
    shown = run("new", "--out", folder)
    private = json.loads((tmp_path / "keys" / PRIVATE).read_text())
    assert not any(key["d"] in shown for key in private["keys"])
    listed = json.loads(run("list", "--out", folder, "--json"))
    assert [key["alg"] for key in listed["keys"]] == ["ES384", "RS384"]
    assert json.loads(run("public", f"{folder}/{PRIVATE}")) == listed
    run("retire", told["kid"], "--out", folder)
    assert told["kid"] not in run("list", "--out", folder)
