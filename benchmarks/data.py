"""A seeded population as a Bulk Data export: any number of people, files and candidates, with its truth.

People are copies of charts of the synthetic hospital (``adapter.demo``) under new ids: a candidate copies one
of its screening cases, so that there is something to judge and the hospital's plan says what must come out;
everybody else copies a chart without the disease. Lines are about 800 bytes, 58 for a person unless ``lines``
says fewer. A chart is kept as the bytes between its ids, so that a copy is one ``join``: some 500 MB a second
on each core, compression aside.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import tempfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from adapter.demo import hospital
from adapter.demo.export import REQUEST, TRANSACTION_TIME
from adapter.demo.pharmacy import formulary
from adapter.demo.plan import SCREENING_DAY
from benchmarks.charts import HOSPITAL_SEED, charts, shortened

AS_OF = SCREENING_DAY
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_FLUSH = 4 * 2**20

Compression = Literal["", "gzip", "zstd"]
SUFFIX: dict[str, str] = {"": "", "gzip": ".gz", "zstd": ".zst"}


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate; the same recipe gives the same bytes.

    ``parts`` is the number of files of each resource type; 0 puts everything into one file. ``lines`` is how
    many resources a person without the disease has at most, 0 for all.
    """

    patients: int
    share: float = 0.002
    parts: int = 8
    lines: int = 0
    compression: Compression = ""
    seed: int = HOSPITAL_SEED

    @property
    def name(self) -> str:
        return (
            f"{self.patients}-patients-{self.share:g}-candidates-{self.parts}-parts-"
            f"{self.lines or 'all'}-lines-{self.compression or 'plain'}-{self.seed}"
        )

    def candidates(self) -> frozenset[int]:
        """The numbers of those who have the disease."""
        count = min(self.patients, max(1, round(self.patients * self.share)))
        return frozenset(random.Random(self.seed).sample(range(self.patients), count))  # noqa: S311


class Population(msgspec.Struct, frozen=True):
    """Where the files are and what is true of them.

    ``rows`` are lines by resource type, ``wanted`` those of candidates, ``verdicts`` people by what they must
    be found to be; ``bytes`` are without compression.
    """

    where: str
    recipe: Recipe
    rows: dict[str, int]
    wanted: dict[str, int]
    verdicts: dict[str, int]
    bytes: int
    stored: int
    files: int

    @property
    def folder(self) -> Path:
        return Path(self.where)

    @property
    def candidates(self) -> frozenset[str]:
        return frozenset(person(number).decode() for number in self.recipe.candidates())

    @property
    def lines(self) -> int:
        return sum(self.rows.values())

    def paths(self, kind: str = "") -> list[Path]:
        """The files of a resource type, or all."""
        return sorted(self.folder.glob(f"{kind or '*'}.*ndjson*"))


_LETTERS = bytes.maketrans(b"0123456789", b"abcdefghij")


def person(number: int) -> bytes:
    """An id without digits: among a million numbers some spell a code that nominates (73737-1)."""
    return (b"q%07d" % number).translate(_LETTERS)


def population(recipe: Recipe, root: Path | None = None) -> Population:
    """Generate, or take what an earlier run generated, under ``root`` (a temporary folder unless given)."""
    root = root or Path(tempfile.gettempdir()) / f"adapter-bench-{os.getuid()}"
    folder = root / f"{recipe.name}-{_generator():08x}"
    account = folder / "population.json"
    if account.exists():
        return msgspec.json.decode(account.read_bytes(), type=Population)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return generate(recipe, folder)


@cache
def _generator() -> int:
    """What the bytes depend on besides the recipe: the code that writes them and the synthetic hospital."""
    here = Path(__file__)
    sources = [here, here.with_name("charts.py"), *Path(hospital.__file__).parent.glob("*.py")]
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(sources)))


def generate(recipe: Recipe, folder: Path) -> Population:
    """Write the export into an empty folder, on all cores."""
    shards = max(1, recipe.parts)
    edges = [recipe.patients * number // shards for number in range(shards + 1)]
    charts()  # made before the processes fork, so that they need not
    work = partial(_shard, recipe, folder)
    with multiprocessing.get_context("fork").Pool(min(shards, os.cpu_count() or 1)) as pool:
        accounts = pool.starmap(work, [(n, edges[n], edges[n + 1]) for n in range(shards)])
    rows: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    size, output = 0, []
    for account in accounts:
        rows.update(account.rows)
        wanted.update(account.wanted)
        verdicts.update(account.verdicts)
        size += account.bytes
        output += account.files
    shared = _shared(recipe, folder)
    rows.update(shared.rows)
    made = Population(
        where=str(folder),
        recipe=recipe,
        rows=dict(rows),
        wanted=dict(wanted),
        verdicts=dict(verdicts),
        bytes=size + shared.bytes,
        stored=sum(path.stat().st_size for path in folder.iterdir()),
        files=len({name for _, name, _ in [*output, *shared.files]}),
    )
    manifest = {
        "transactionTime": TRANSACTION_TIME,
        "request": REQUEST,
        "requiresAccessToken": False,
        "output": [
            {"type": kind, "url": name, "count": count} for kind, name, count in [*output, *shared.files]
        ],
        "error": [],
    }
    if recipe.parts:  # a manifest names one type a file
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    (folder / "population.json").write_bytes(msgspec.json.encode(made))
    return made


class _Account(NamedTuple):
    rows: Counter[str]
    wanted: Counter[str]
    verdicts: Counter[str]
    bytes: int
    files: list[tuple[str, str, int]]


def _shard(recipe: Recipe, folder: Path, shard: int, first: int, end: int) -> _Account:
    """Write the people from ``first`` to ``end``, one file a type."""
    cases, others = charts()
    others = tuple(shortened(other, recipe.lines) for other in others)
    candidates = recipe.candidates()
    out = _Out(recipe, folder, shard)
    wanted: Counter[str] = Counter()
    verdicts: Counter[str] = Counter()
    for number in range(first, end):
        if number in candidates:
            chart = cases[number % len(cases)]
            wanted.update(chart.lines)
            verdicts[chart.overall] += 1
        else:
            chart = others[number % len(others)]
        for kind, text in chart.of(person(number)):
            out.write(kind, text, chart.lines[kind])
    out.close()
    return _Account(out.rows, wanted, verdicts, out.bytes, out.files)


def _shared(recipe: Recipe, folder: Path) -> _Account:
    """What belongs to nobody: the pharmacy's Medications and the studies."""
    out = _Out(recipe, folder, 0)
    for row in (*formulary(), *hospital.studies()):
        out.write(row["resourceType"], _ENCODER.encode(row) + b"\n", 1)
    out.close()
    return _Account(out.rows, Counter(), Counter(), out.bytes, out.files)


class _Out:
    """The files of one shard, written some megabytes at a time."""

    def __init__(self, recipe: Recipe, folder: Path, shard: int) -> None:
        self._recipe, self._folder, self._shard = recipe, folder, shard
        self._waiting: defaultdict[str, list[bytes]] = defaultdict(list)
        self._sizes: Counter[str] = Counter()
        self._press: dict[str, tuple[Callable[[bytes], bytes], Callable[[], bytes]]] = {}
        self.rows: Counter[str] = Counter()
        self.bytes = 0

    @property
    def files(self) -> list[tuple[str, str, int]]:
        return [(kind, self._name(kind), count) for kind, count in sorted(self.rows.items())]

    def write(self, kind: str, text: bytes, lines: int) -> None:
        name = self._name(kind)
        self._waiting[name].append(text)
        self._sizes[name] += len(text)
        self.rows[kind] += lines
        self.bytes += len(text)
        if self._sizes[name] > _FLUSH:
            self._flush(name)

    def close(self) -> None:
        for name in sorted(self._waiting):
            self._flush(name)
        for name, (_, finish) in self._press.items():
            with (self._folder / name).open("ab") as out:
                out.write(finish())

    def _name(self, kind: str) -> str:
        stem = f"{kind}.{self._shard:04}" if self._recipe.parts else "export.0000"
        return f"{stem}.ndjson{SUFFIX[self._recipe.compression]}"

    def _flush(self, name: str) -> None:
        data = b"".join(self._waiting[name])
        self._waiting[name].clear()
        self._sizes[name] = 0
        if self._recipe.compression:
            if name not in self._press:
                self._press[name] = _compressor(self._recipe.compression)
            data = self._press[name][0](data)
        with (self._folder / name).open("ab") as out:
            out.write(data)


def _compressor(kind: Compression) -> tuple[Callable[[bytes], bytes], Callable[[], bytes]]:
    """(compress some, finish), at the levels the command line tools have by default."""
    if kind == "gzip":
        stream = zlib.compressobj(6, zlib.DEFLATED, 31)
        return stream.compress, stream.flush
    import pyarrow

    codec = pyarrow.Codec("zstd", compression_level=3)
    return lambda data: bytes(codec.compress(data, asbytes=True)), lambda: b""
