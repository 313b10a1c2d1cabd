"""The files of an export, some at a time, each one whole or told: what is verified is never asked for again.

A link may have expired: then the manifest is read again, once for all who noticed. A file that stays refused,
absent or broken is set aside with its reason and costs the coverage of its type; a server that answers
nobody any more ends the run, which goes on from here next time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from adapter.errors import ConfigError, SourceUnavailable, SourceUntrustworthy
from adapter.source.bulk_http import Broken, BulkConnection
from adapter.source.bulk_job import JobFolder, Verified
from adapter.source.bulk_status import ListedFile, Listing, Step, Told
from adapter.source.bulk_verify import Verdict, verify
from adapter.source.client import Refusal
from adapter.source.ndjson import Limits

_EXPIRED = frozenset({400, 401, 403, 404, 410})
_INLINE = 2**16  # bytes: smaller files are verified at once, larger ones in a thread
_SYNC_EVERY = 256


class Care(msgspec.Struct, frozen=True):
    """How much trouble to take: downloads at once, attempts per file, pauses in seconds.

    ``renewals`` is how often the manifest may be read again, ``silent`` how many files may fail in a row.
    """

    connections: int = 6
    attempts: int = 5
    first: float = 0.5
    longest: float = 60.0
    longest_asked: float = 3600.0
    renewals: int = 50
    silent: int = 8


class SetAside(msgspec.Struct, frozen=True):
    """A file that could not be had whole; ``kept`` says that what came of it is landed all the same."""

    file: ListedFile
    reason: str
    kept: bool = False


class Downloads:
    """All files of one listing into a job's folder."""

    def __init__(
        self,
        bulk: BulkConnection,
        folder: JobFolder,
        again: Callable[[], Awaitable[Listing]],
        *,
        care: Care,
        limits: Limits | None = None,
        told: Told = lambda step: None,
    ) -> None:
        self._bulk = bulk
        self._folder = folder
        self._again = again
        self._care = care
        self._limits = limits
        self._told = told
        self._links: dict[str, ListedFile] = {}
        self._needs_token = True
        self._renewing = asyncio.Lock()
        self._generation = 0
        self._silent = 0
        self._taken = 0
        self.set_aside: list[SetAside] = []

    async def fetch(self, listing: Listing, files: tuple[ListedFile, ...]) -> None:
        """Download ``files``; those already verified cost nothing.

        Raises SourceUnavailable when the server answers nobody any more, ConfigError when it does not take
        the token, SourceUntrustworthy for an address or a size that is not allowed; ExportGone if the links
        expired and the server has forgotten the export.
        """
        self._links = {file.key: file for file in listing.files}
        self._needs_token = listing.needs_token
        self._done = sum(file.key in self._folder.verified for file in files)
        self._of = len(files)
        self._told(Step("downloading", self._done, self._of))
        waiting = iter([file for file in files if file.key not in self._folder.verified])
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._care.connections):
                    group.create_task(self._work(waiting))
        except BaseExceptionGroup as faults:
            raise _first(faults) from None
        finally:
            self._folder.sync()
        self.set_aside.sort(key=lambda one: one.file.key)

    async def _work(self, waiting: Iterator[ListedFile]) -> None:
        for file in waiting:
            reason, kept = await self._one(file)
            if reason:
                self.set_aside.append(SetAside(file, reason, kept))
            else:
                self._taken += 1
                if self._taken % _SYNC_EVERY == 0:
                    self._folder.sync()
            self._done += 1
            self._told(Step("downloading", self._done, self._of))

    async def _one(self, file: ListedFile) -> tuple[str, bool]:
        """Get one file; why not, if it cannot be had whole, and whether what came is kept."""
        path = self._folder.partial / file.key
        pause, faults, refused = self._care.first, 0, False
        last: Verdict | None = None
        while True:
            generation, size = self._generation, _size(path)
            try:
                link = self._links.get(file.key)
                if link is None:
                    return "no longer in the manifest", False
                verdict = await self._attempt(link, path)
            except Refusal as refusal:
                if refusal.status not in _EXPIRED or refused or not await self._renew(generation):
                    return self._refused(refusal), False
                refused = True
                continue
            except Broken as fault:
                why, asked = str(fault), fault.wait
                faults = 0 if _size(path) > size > 0 else faults + 1
            else:
                again = last is not None and last.sha256 == verdict.sha256
                if not verdict.wrong and (verdict.certain or again):
                    self._keep(path, file, verdict)
                    return "", False
                if verdict.wrong and again and not verdict.useless:
                    self._keep(path, file, verdict, verified=False)
                    return verdict.wrong, True
                self._folder.start_again(file.key)
                why, asked, last = verdict.wrong or "its end was not told", None, verdict
                faults += 1
            if faults >= self._care.attempts:
                return self._given_up(path, file, last, why)
            self._told(Step("downloading", self._done, self._of, f"{file.key}: {why}"))
            wait = pause if asked is None else min(asked, self._care.longest_asked)
            pause = min(pause * 2, self._care.longest)
            await asyncio.sleep(wait + random.uniform(0, wait / 4))  # noqa: S311 - spreads, hides nothing

    async def _attempt(self, file: ListedFile, path: Path) -> Verdict:
        url = self._bulk.client.linked(file.url, self._bulk.client.base, "bulk manifest")
        where = f"bulk file {file.key}"
        received = await self._bulk.download(url, path, token=self._needs_token, where=where)
        self._silent = 0
        if received.size > _INLINE:
            return await asyncio.to_thread(
                verify, path, file.key, file.count, framed=received.framed, limits=self._limits
            )
        return verify(path, file.key, file.count, framed=received.framed, limits=self._limits)

    def _keep(self, path: Path, file: ListedFile, verdict: Verdict, *, verified: bool = True) -> None:
        one = Verified(
            file.key,
            file.key + (".gz" if verdict.gzipped else ""),
            path.stat().st_size,
            verdict.sha256,
            verdict.lines,
        )
        self._folder.keep(path, one, verified=verified)

    def _given_up(self, path: Path, file: ListedFile, last: Verdict | None, why: str) -> tuple[str, bool]:
        """What came whole but wrong is kept, and told; what never came counts towards a dead server."""
        if last is not None and not last.useless and path.exists():
            self._keep(path, file, last, verified=False)
            return why, True
        self._silent += last is None
        if self._silent >= min(self._care.silent, self._care.connections):
            raise SourceUnavailable(
                f"files of the export do not come: {why}",
                where="bulk download",
                fix="run the same command again later: it goes on from here",
            )
        return why, False

    def _refused(self, refusal: Refusal) -> str:
        if refusal.status == 401 and self._needs_token:
            raise ConfigError(
                "the server does not accept the token for files of the export",
                where="bulk download",
                fix="check the site's credentials and scopes; the next run goes on from here",
            )
        return refusal.reason

    async def _renew(self, generation: int) -> bool:
        """Read the manifest again for links that work, unless someone just did; False if it was enough."""
        async with self._renewing:
            if generation == self._generation:
                if self._generation >= self._care.renewals:
                    return False
                listing = await self._again()
                self._links = {file.key: file for file in listing.files}
                self._needs_token = listing.needs_token
                self._generation += 1
        return True


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    """What one worker raised: the gravest, if several did at once."""
    found = [_first(one) if isinstance(one, BaseExceptionGroup) else one for one in faults.exceptions]
    grave = [fault for fault in found if isinstance(fault, SourceUntrustworthy | ConfigError)]
    return (grave or found)[0]
