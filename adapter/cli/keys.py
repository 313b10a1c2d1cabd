"""``adapter keys``: make the key a site signs in with, and the public half its hospital registers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from adapter.cli.options import DryRunOption, JsonOption
from adapter.cli.terminal import Terminal
from adapter.errors import ConfigError
from adapter.source.auth import keys
from adapter.source.auth.keys import PRIVATE, PUBLIC, Algorithm

app = typer.Typer(
    help="Keys of SMART Backend Services: the private one stays here, the public one goes to the hospital.",
    no_args_is_help=True,
)
_OutOption = Annotated[
    Path, typer.Option("--out", help="Folder of the keys, on a disk of this machine alone.")
]


@app.command()
def new(
    out: _OutOption,
    alg: Annotated[
        str, typer.Option("--alg", help="ES384 or RS384, as the hospital's server takes.")
    ] = "ES384",
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a private key (readable by you alone) and the public JWK Set to register.

    In a folder that has a key already the new one is put before it: register the new jwks.json, and until the
    hospital has it the adapter signs with the older key. Then take that out with `adapter keys retire`.
    """
    if alg not in ("ES384", "RS384"):
        raise ConfigError(f"no algorithm {alg!r}", where="--alg", fix="ES384 or RS384")
    algorithm: Algorithm = "ES384" if alg == "ES384" else "RS384"
    if dry_run:
        older = [key.kid for key in keys.keys_in(out)]
        where = {"private": str(out / PRIVATE), "public": str(out / PUBLIC)}
        said = {"would_make": algorithm, "before": older, **where}
        text = f"would put a new {algorithm} key before {', '.join(older) or 'none'} in {out / PRIVATE}"
        print(json.dumps(said)) if as_json else Terminal().print(text, soft_wrap=True)  # noqa: T201
        return
    made = keys.add_key(out, algorithm)
    if as_json:
        told = {"kid": made.kid, "private": str(out / PRIVATE), "public": str(out / PUBLIC)}
        print(json.dumps(told))  # noqa: T201
        return
    console = Terminal()
    console.print(f"key {made.kid} ({made.algorithm})")
    console.print(f"private, never leaves this machine: {out / PRIVATE}", soft_wrap=True)
    console.print(f"public, for the hospital to register: {out / PUBLIC}", soft_wrap=True)
    console.print(f'in site.toml: [smart] key_file = "{out / PRIVATE}"', soft_wrap=True, markup=False)


@app.command("list")
def listed(out: _OutOption, as_json: JsonOption = False) -> None:
    """Show the ids of the keys in a folder, newest first; with --json the public JWK Set itself."""
    found = keys.load_keys(out / PRIVATE)
    if as_json:
        print(json.dumps(keys.public_set(found), indent=2))  # noqa: T201
        return
    for key in found:
        Terminal().print(f"{key.kid} {key.algorithm}", soft_wrap=True)


@app.command()
def public(
    file: Annotated[Path, typer.Argument(help="A private key: PEM, JWK or JWK Set.")],
    kid: Annotated[str, typer.Option("--kid", help="Its id; the thumbprint unless given.")] = "",
) -> None:
    """Print the public JWK Set of a key that was made elsewhere (with openssl, say), to register."""
    print(json.dumps(keys.public_set(keys.load_keys(file, key_id=kid)), indent=2))  # noqa: T201


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="The id of the key, as `adapter keys list` shows it.")],
    out: _OutOption,
    dry_run: DryRunOption = False,
) -> None:
    """Take an old key out of both files, once the hospital knows the new one. The last key is never taken."""
    left = keys.retire_key(out, kid, dry_run=dry_run)
    words = "would be left" if dry_run else "left"
    Terminal().print(
        f"{words}: {', '.join(key.kid for key in left)}; register the new {out / PUBLIC}",
        soft_wrap=True,
    )
