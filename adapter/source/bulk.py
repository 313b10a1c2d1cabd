"""A bulk export from kick-off to landing, as the Bulk Data IG has it, through crashes and over days.

The same command run again goes on: with waiting, with downloading, with landing, with cleaning up. What it
finds on disk it checks, what it lost it asks for again, and a job that the server has forgotten is started
anew and said to be. Source: Bulk Data Access IG 2.0.0 (https://hl7.org/fhir/uv/bulkdata/).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec

from adapter.errors import SourceRefused, SourceUnavailable
from adapter.model import wire
from adapter.model.issue import Issue
from adapter.source import bulk_landing, bulk_status
from adapter.source.bulk_download import Care, Downloads
from adapter.source.bulk_http import BulkConnection
from adapter.source.bulk_job import Job, JobFolder, new_job
from adapter.source.bulk_request import ExportRequest, Method
from adapter.source.bulk_status import ExportGone, ListedFile, Listing, Pace, Step, Told
from adapter.source.landing import Landing, open_landing
from adapter.source.ndjson import Limits

STARTS = 3
_ISSUES = "issues.ndjson"


class Manners(msgspec.Struct, frozen=True):
    """How an export is asked for and fetched; ``methods`` of kick-off in order of preference."""

    methods: tuple[Method, ...] = ("GET", "POST")
    pace: Pace = Pace()
    care: Care = Care()
    limits: Limits | None = None
    keep_job: bool = False


class BulkExport:
    """One export of one server into one folder; :meth:`run` may be killed and run again at any moment."""

    def __init__(
        self,
        bulk: BulkConnection,
        request: ExportRequest,
        folder: Path,
        *,
        manners: Manners | None = None,
        told: Told = lambda step: None,
    ) -> None:
        self._bulk = bulk
        self._request = request.checked()
        self._folder = JobFolder(folder)
        self._manners = manners or Manners()
        self._told = told
        self._server = str(bulk.client.base)
        self._notes: list[Issue] = []

    async def run(self, target: Path, *, now: datetime, base: Landing | None = None) -> Landing:
        """Export, download and land at ``target``; ``base`` is what an increment is landed onto.

        A full export replaces ``base`` and only notes the differences.

        Raises SourceRefused where there is no export to be had (missing, not allowed, failed, without
        patients), SourceUnavailable or ExportPending for what passes: the next run goes on. Others as the
        client raises them.
        """
        with self._folder.locked():
            job = await self._job(now)
            if job.phase == "asked":
                job = await self._downloaded(job, now)
            if job.phase == "downloaded":
                self._told(Step("landing"))
                self._land(job, target, now, base)
                job = msgspec.structs.replace(job, phase="landed")
                self._folder.write(job)
            await self._clean_up(job)
            return open_landing(target, self._manners.limits)

    async def _job(self, now: datetime) -> Job:
        """The job on disk if it is of this request; otherwise a new one."""
        fingerprint = self._request.fingerprint(self._bulk.client.base)
        job = self._folder.read()
        if job is not None and job.fingerprint == fingerprint:
            self._told(Step("asking", text=f"going on with the export of {job.started_at[:16]}"))
            return job
        if job is not None:
            self._told(Step("asking", text="an unfinished export of another kind is given up"))
            if job.server == self._server:
                await bulk_status.delete(self._bulk, job.status_url)
        self._folder.clear()
        return await self._start(fingerprint, now, starts=1)

    async def _start(self, fingerprint: str, now: datetime, *, starts: int) -> Job:
        status_url = await bulk_status.kick_off(
            self._bulk, self._request, methods=self._manners.methods, told=self._told
        )
        job = new_job(self._server, self._request, fingerprint, status_url, now)
        job = msgspec.structs.replace(job, starts=starts)
        self._folder.write(job)
        return job

    async def _downloaded(self, job: Job, now: datetime) -> Job:
        while True:
            try:
                await self._download(job)
                break
            except ExportGone:
                self._told(Step("asking", text="the server has forgotten the export: starting again"))
                if job.starts >= STARTS:
                    self._folder.clear()
                    raise SourceUnavailable(
                        f"the server has forgotten the export {STARTS} times",
                        where="bulk export",
                        fix="ask the hospital how long it keeps exports; try again later",
                    ) from None
                self._folder.clear_files()
                job = await self._start(job.fingerprint, now, starts=job.starts + 1)
            except SourceRefused:
                await bulk_status.delete(self._bulk, job.status_url)
                self._folder.clear()
                raise
        job = msgspec.structs.replace(job, phase="downloaded")
        self._folder.write(job)
        return job

    async def _download(self, job: Job) -> None:
        async def again() -> Listing:
            return await bulk_status.manifest(
                self._bulk, job.status_url, pace=self._manners.pace, told=self._told
            )

        listing = await again()
        files = self._wanted(listing)
        self._folder.open()
        downloads = Downloads(
            self._bulk,
            self._folder,
            again,
            care=self._manners.care,
            limits=self._manners.limits,
            told=self._told,
        )
        await downloads.fetch(listing, files)
        known = {file.key for file in files}
        for path in self._folder.files.iterdir():
            if path.name.removesuffix(".gz") not in known:
                path.unlink()
        bulk_landing.prepare(self._folder, job, listing, files)
        issues = bulk_landing.remarks(self._folder, downloads.set_aside, listing)
        for kind in self._request.types:
            if why := self._bulk.client.withheld(kind):
                issues.append(Issue("TYPE_WITHHELD", "warning", kind, f"{kind} export", detail=why))
        if job.starts > 1:
            detail = f"{job.starts} times: the server had forgotten it"
            issues.append(Issue("EXPORT_RESTARTED", "information", "", "bulk export", detail=detail))
        wire.write_rows(self._folder.root / _ISSUES, issues)

    def _wanted(self, listing: Listing) -> tuple[ListedFile, ...]:
        """Files of the types asked for; an export of patients without a patient is worth nothing."""
        asked = {*self._request.types, ""}
        files = tuple(file for file in listing.files if file.part != "output" or file.type in asked)
        if len(files) < len(listing.files):
            left = len(listing.files) - len(files)
            self._told(Step("downloading", text=f"{left} files of types nobody asked for are left"))
        kinds = {file.type for file in files if file.part == "output"}
        if not self._request.since and "Patient" in self._request.types and not kinds & {"Patient", ""}:
            raise SourceRefused("the export brought no patients", where="bulk export")
        return files

    def _land(self, job: Job, target: Path, now: datetime, base: Landing | None) -> None:
        issues = list(wire.read_rows(self._folder.root / _ISSUES, Issue))
        bulk_landing.land(
            self._folder, job, target, now=now, issues=issues, base=base, limits=self._manners.limits
        )

    async def _clean_up(self, job: Job) -> None:
        remark = await bulk_status.delete(self._bulk, job.status_url)
        if remark:
            remark = f"the server keeps its files, it would not delete them: {remark}"
        self._told(Step("done", 1, 1, remark))
        if not self._manners.keep_job:
            self._folder.clear()
