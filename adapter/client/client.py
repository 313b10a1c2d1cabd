"""What a site holds for this token, and how to have it: :class:`SponsorClient`."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import msgspec

from adapter.client.connection import READ_SECONDS, Connection, token_of
from adapter.client.download import Wanted, begun, fetch, is_right
from adapter.client.target import MANIFEST, Target
from adapter.errors import AdapterError, ConfigError, NotFound, PullUntrustworthy

if TYPE_CHECKING:
    import pandas
    import pyarrow

LATEST = "latest"
How = Literal["have", "copy", "resume", "fetch"]
Progress = Callable[[int, int, str], None]
"""Told bytes that are here, bytes in all, and the file at hand."""
_ID = re.compile(r"[0-9]{8}-[0-9a-f]{12,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Listed(msgspec.Struct, frozen=True):
    """A snapshot as the site lists it: ``rows`` by dataset, ``bytes`` of all ``files`` unpacked."""

    id: str
    time: str
    study: str
    site: str
    profile: str
    manifest_sha256: str
    files: int
    bytes: int
    rows: dict[str, int] = {}


class _Listing(msgspec.Struct, frozen=True):
    snapshots: tuple[Listed, ...]
    last_pull: str | None = None


class _Told(msgspec.Struct, frozen=True):
    sha256: str
    bytes: int


class _Dataset(msgspec.Struct, frozen=True):
    files: dict[str, _Told]


class _Content(msgspec.Struct, frozen=True):
    datasets: tuple[_Dataset, ...] = ()
    documents: dict[str, _Told] = {}


class Manifest(msgspec.Struct, frozen=True):
    """A snapshot's manifest: its bytes as they came, what they say, and every file by its path."""

    id: str
    data: bytes
    content: dict[str, Any]
    files: dict[str, tuple[str, int]]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class Planned(msgspec.Struct, frozen=True):
    """A file of a pull: ``have`` it is in the draft, ``copy`` the former pull has it, ``resume`` a part of it
    came, ``fetch`` nothing did. ``bytes`` are those of the whole file."""

    path: str
    bytes: int
    how: How


class Pulled(msgspec.Struct, frozen=True):
    """What a pull came to. ``came`` counts bytes over the wire, ``current`` is True if the folder was right
    already; ``acknowledged`` if the site knows that it arrived."""

    snapshot: str
    folder: Path
    files: int
    bytes: int
    came: int = 0
    current: bool = False
    acknowledged: bool = False


class SponsorClient:
    """A site's snapshots, for the holder of a token.

    ``url`` is the site's address, ending in ``/sponsor``. The token is given, in a file, or in what
    ``ADAPTER_SPONSOR_TOKEN_FILE`` or ``ADAPTER_SPONSOR_TOKEN`` name. Raises :class:`ConfigError` for what
    cannot be used. Its methods raise :class:`PullRefused` (the site says no, and why),
    :class:`PullUnavailable` (try again later) and :class:`PullUntrustworthy` (not what was promised).
    """

    def __init__(
        self,
        url: str,
        token: str = "",
        *,
        token_file: Path | str | None = None,
        ca_file: Path | str | None = None,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._connection = Connection(
            url, token_of(token, token_file), ca_file=ca_file, read_seconds=read_seconds
        )

    def snapshots(self) -> tuple[Listed, ...]:
        """Those this token opens, oldest first."""
        return self._listing().snapshots

    def last_pull(self) -> str | None:
        """The id of the snapshot that the site knows this token's holder to have."""
        return self._listing().last_pull

    def manifest(self, snapshot: str = LATEST) -> Manifest:
        """A snapshot's manifest, held against its id: the id was made from it."""
        if snapshot == LATEST:
            known = self.snapshots()
            if not known:
                raise NotFound("the site has no snapshot yet", where=self._connection.url, fix="ask the site")
            snapshot = known[-1].id
        if not _ID.fullmatch(snapshot):
            raise NotFound(f"no snapshot is called {snapshot!r}", fix="adapter pull URL --list")
        data = self._connection.json(f"snapshots/{snapshot}/manifest")
        if not hashlib.sha256(data).hexdigest().startswith(snapshot.partition("-")[2]):
            raise PullUntrustworthy(
                "the manifest is not the one of this id", where=snapshot, fix="tell the site"
            )
        return _manifest(snapshot, data)

    def difference(self, snapshot: str = LATEST, since: str = "") -> dict[str, Any]:
        """What changed since a snapshot you have, or since your last pull: subjects, records, versions."""
        asked = f"?since={quote(since, safe='')}" if since else ""
        data = self._connection.json(f"snapshots/{quote(snapshot, safe='')}/difference{asked}")
        found: dict[str, Any] = _decoded(data, dict)
        return found

    def plan(self, target: Path | str, snapshot: str = LATEST) -> tuple[Planned, ...]:
        """What :meth:`pull` would do for each file; changes nothing."""
        place = Target(Path(target))
        place.check()
        return _planned(self.manifest(snapshot), place)

    def pull(
        self,
        target: Path | str,
        snapshot: str = LATEST,
        progress: Progress = lambda _done, _of, _file: None,
    ) -> Pulled:
        """Bring a snapshot to a folder, verified, replacing an older one whole; then tell the site.

        Interrupted, even by kill -9, the same call goes on where it stopped. Files that the older pull has
        are not fetched again.
        """
        place = Target(Path(target))
        place.check()
        wanted = self.manifest(snapshot)
        total = sum(size for _, size in wanted.files.values())
        with place.held():
            if _is_current(wanted, place):
                place.tidy()
                told = self._acknowledge(wanted)
                return Pulled(wanted.id, place.folder, len(wanted.files), total, 0, True, told)
            came = self._gather(wanted, place, total, progress)
            place.put_in_place(wanted.data)
        return Pulled(
            wanted.id, place.folder, len(wanted.files), total, came, False, self._acknowledge(wanted)
        )

    def frame(self, dataset: str, snapshot: str = LATEST) -> pandas.DataFrame | pyarrow.Table:
        """One dataset (``LB``, ``ADSL``): a pandas DataFrame if pandas is installed, else a pyarrow Table.

        Numbers are exact (decimal), as in Parquet; ``frame["LBSTRESN"].astype(float)`` makes doubles.
        """
        try:
            from pyarrow import parquet
        except ModuleNotFoundError as fault:
            raise ConfigError(
                "a frame is read from Parquet", where="pyarrow", fix="pip install pyarrow"
            ) from fault
        wanted = self.manifest(snapshot)
        name = f"{dataset.lower()}.parquet"
        paths = [path for path in wanted.files if PurePosixPath(path).name == name]
        if len(paths) != 1:
            raise NotFound(f"no dataset {dataset!r}", where=wanted.id, fix="manifest().files lists them")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            fetch(self._connection, _wanted(wanted, paths[0]), file, Path(folder) / "parts")
            table = parquet.read_table(file, memory_map=False)
        try:
            import pandas as installed
        except ModuleNotFoundError:
            return table
        frame: installed.DataFrame = table.to_pandas()
        return frame

    def _listing(self) -> _Listing:
        found: _Listing = _decoded(self._connection.json("snapshots"), _Listing)
        return found

    def _gather(self, wanted: Manifest, place: Target, total: int, progress: Progress) -> int:
        """Every file into the draft; returns how many bytes came."""
        place.draft.mkdir(exist_ok=True)
        place.clear(wanted.files)
        came = done = 0
        for one in _planned(wanted, place):
            start, path = done, place.draft / one.path
            if one.how == "copy":
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place.folder / one.path, path)
            if one.how in ("fetch", "resume") or not is_right(path, *wanted.files[one.path]):

                def told(share: float, start: int = start, one: Planned = one) -> None:
                    progress(start + int(share * one.bytes), total, one.path)

                came += fetch(self._connection, _wanted(wanted, one.path), path, place.parts, told)
            done += one.bytes
            progress(done, total, one.path)
        return came

    def _acknowledge(self, wanted: Manifest) -> bool:
        """The site remembers what we have; if it cannot now, what we have is ours all the same."""
        try:
            self._connection.put(f"snapshots/{wanted.id}/receipt", {"manifest_sha256": wanted.sha256})
        except AdapterError:
            return False
        return True


def _wanted(manifest: Manifest, path: str) -> Wanted:
    sha256, size = manifest.files[path]
    return Wanted(f"snapshots/{manifest.id}/files/{quote(path)}", sha256, size)


def _planned(wanted: Manifest, place: Target) -> tuple[Planned, ...]:
    had = _had(place)
    found = []
    for path, (sha256, size) in wanted.files.items():
        how: How = "fetch"
        if is_right(place.draft / path, sha256, size):
            how = "have"
        elif had.get(path) == (sha256, size):
            how = "copy"
        elif begun(place.parts, sha256):
            how = "resume"
        found.append(Planned(path, size, how))
    return tuple(found)


def _had(place: Target) -> Mapping[str, tuple[str, int]]:
    try:
        return _manifest("", (place.folder / MANIFEST).read_bytes()).files
    except (OSError, PullUntrustworthy):
        return {}


def _is_current(wanted: Manifest, place: Target) -> bool:
    try:
        same = (place.folder / MANIFEST).read_bytes() == wanted.data
    except OSError:
        return False
    if not same or not all(is_right(place.folder / path, *told) for path, told in wanted.files.items()):
        return False
    present = {one.relative_to(place.folder).as_posix() for one in place.folder.rglob("*") if one.is_file()}
    return present == {*wanted.files, MANIFEST}


def _manifest(snapshot: str, data: bytes) -> Manifest:
    content = _decoded(data, _Content)
    files = {path: told for one in content.datasets for path, told in one.files.items()} | content.documents
    for path, told in files.items():
        if not _is_plain(path) or not _SHA256.fullmatch(told.sha256) or told.bytes < 0:
            raise PullUntrustworthy(
                "the manifest names a file that cannot be kept", where=snapshot, fix="tell the site"
            )
    return Manifest(
        snapshot,
        data,
        _decoded(data, dict),
        {path: (told.sha256, told.bytes) for path, told in sorted(files.items())},
    )


def _is_plain(path: str) -> bool:
    """A path within the folder on any system, and none of our own names."""
    parts = PurePosixPath(path).parts
    plain = bool(parts) and "/".join(parts) == path and not set(parts) & {"..", "/"} and path.isprintable()
    return plain and path != MANIFEST and not set(path) & set('\\:*?"<>|') and not path.startswith(".")


def _decoded(data: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError) as fault:
        raise PullUntrustworthy(
            "the answer is not what an adapter sends", where=kind.__name__, fix="see the address"
        ) from fault
