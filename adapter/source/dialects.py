"""How servers of a make differ from the specification and what the client does about it, all in one place.

A dialect is recognised from the CapabilityStatement or the base URL, or named by the site (``dialect`` in
site.toml); an unknown make is spoken to as the specification says. Each quirk has a sentence and a public
link; what steers the client are the fields of :class:`Dialect`. Recorded or written-out CapabilityStatements
and exchanges of each make are in ``tests/recorded/``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from adapter.errors import ConfigError

Level = Literal["system", "Patient", "Group"]
Meaning = Literal["", "expired", "capped", "glass"]


class Quirk(msgspec.Struct, frozen=True):
    """One way in which a make differs."""

    name: str
    sentence: str
    link: str


class Dialect(msgspec.Struct, frozen=True):
    """What the client does differently for one make.

    ``page`` is the ``_count`` to ask for; ``categories`` names, per type that cannot be searched without one,
    the categories to ask for one by one; ``estimates`` says that ``Bundle.total`` is exact on the last page
    only. ``expired``, ``capped`` and ``glass`` are the server's own codes (OperationOutcome.issue.details):
    a forgotten paging session, a cut-off result and a record behind break-the-glass, which is never asked for
    again. ``exports`` are the levels of ``$export``. ``entries`` (a Bundle, 0: not known) and
    ``modifier_extension`` matter to whoever writes.
    """

    name: str
    signs: str = ""
    hosts: tuple[str, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    page: int = 200
    categories: Mapping[str, tuple[str, ...]] = {}
    estimates: bool = False
    expired: frozenset[str] = frozenset()
    capped: frozenset[str] = frozenset()
    glass: frozenset[str] = frozenset()
    exports: tuple[Level, ...] = ("system", "Patient", "Group")
    entries: int = 0
    modifier_extension: bool = True

    def meaning(self, codes: frozenset[str]) -> Meaning:
        """What the server means by its own codes; break-the-glass weighs most."""
        if codes & self.glass:
            return "glass"
        if codes & self.capped:
            return "capped"
        return "expired" if codes & self.expired else ""


STANDARD = Dialect("standard")

_EPIC = "https://fhir.epic.com/Specifications"
_ORACLE = "https://docs.oracle.com/en/industries/health/millennium-platform-apis/mfrap/r4_overview.html"
_AZURE = "https://learn.microsoft.com/azure/healthcare-apis/fhir/fhir-features-supported"
_GCP = "https://cloud.google.com/healthcare-api/docs/how-tos/best-practices-fhir-search"
_MEDPLUM = "https://www.medplum.com/docs/search/paginated-search"

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "epic",
        signs=r"\bepic\b",
        hosts=("fhir.epic.com",),
        page=100,
        categories={
            "Observation": ("laboratory", "vital-signs", "social-history", "core-characteristics", "survey"),
        },
        expired=frozenset({"4113"}),
        capped=frozenset({"4127", "59133"}),
        glass=frozenset({"4130", "4131", "4134"}),
        exports=("Group",),
        quirks=(
            Quirk(
                "category needed",
                "Observation is searched by category (or code): each category is asked for, and Observation "
                "is not called complete, since others may exist.",
                _EPIC,
            ),
            Quirk(
                "searches are capped",
                "A result cut off at a limit carries code 4127 (Patient) or 59133 (others): it is a part.",
                _EPIC,
            ),
            Quirk(
                "paging expires",
                "A paging session that is gone answers 4113: the search starts again.",
                _EPIC,
            ),
            Quirk(
                "break the glass",
                "4130, 4131 and 4134 mean that a person has to state a reason: never asked again, never read "
                "as absence.",
                _EPIC,
            ),
            Quirk(
                "export of groups",
                "Only Group/[id]/$export exists; the hospital makes the Group.",
                "https://fhir.epic.com/Documentation?docId=fhir_bulk_data",
            ),
        ),
    ),
    Dialect(
        "oracle",
        signs=r"\bcerner|oracle ?health",
        hosts=("cerner.com", "oraclehealth.com"),
        exports=("Group",),
        modifier_extension=False,
        quirks=(
            Quirk(
                "modifierExtension",
                "A resource with a modifierExtension that is not known is refused with 422.",
                _ORACLE,
            ),
            Quirk("JSON alone", "Another Accept than FHIR JSON answers 406 with an empty body.", _ORACLE),
            Quirk(
                "repeated entries",
                "The same id may come on two pages: it is taken once by type, id and version.",
                _ORACLE,
            ),
            Quirk(
                "files redirect",
                "Files of an export answer 307 to a signed link: the token does not follow.",
                "https://docs.oracle.com/en/industries/health/millennium-platform-apis/mfbda/index.html",
            ),
            Quirk(
                "export of groups",
                "Export is of a Group; _typeFilter, _elements and patient are not supported.",
                "https://docs.oracle.com/en/industries/health/health-ai-application-suite/aibda/"
                "op-group-group_id-export-get.html",
            ),
        ),
    ),
    Dialect(
        "azure",
        signs=r"\bmicrosoft\b|\bazure\b",
        hosts=("azurehealthcareapis.com",),
        page=1000,
        entries=500,
        quirks=(
            Quirk("page size", "_count is at most 1000; more is answered as 1000.", _AZURE),
            Quirk("bundle size", "A batch or transaction holds at most 500 entries.", _AZURE),
            Quirk(
                "conditional create races",
                "Two conditional creates at once may both create.",
                "https://github.com/microsoft/fhir-server/issues/1382",
            ),
        ),
    ),
    Dialect(
        "gcp",
        signs=r"\bgoogle\b|cloud healthcare",
        hosts=("healthcare.googleapis.com",),
        estimates=True,
        quirks=(
            Quirk(
                "total is an estimate",
                "Bundle.total may change from page to page and is exact on the last: only that one counts.",
                _GCP,
            ),
            Quirk(
                "export into a bucket",
                "$export writes to a Cloud Storage bucket; files may have to be landed from a folder.",
                "https://cloud.google.com/healthcare-api/docs/how-tos/fhir-bulk-export",
            ),
        ),
    ),
    Dialect(
        "hapi",
        signs=r"\bhapi\b",
        hosts=("hapi.fhir.org",),
        quirks=(
            Quirk(
                "exports are shared",
                "An export equal to a recent one may be answered with that one's files, unless the kick-off "
                "says Cache-Control: no-cache, as ours does everywhere.",
                "https://github.com/hapifhir/hapi-fhir/issues/4154",
            ),
            Quirk(
                "pages expire",
                "Pages of a search are kept for a while and answer 410 afterwards: the search starts again.",
                "https://hapifhir.io/hapi-fhir/docs/server_plain/paging.html",
            ),
        ),
    ),
    Dialect(
        "medplum",
        signs=r"\bmedplum\b",
        hosts=("medplum.com",),
        page=1000,
        quirks=(
            Quirk("small pages", "Without _count a page holds 20, with it at most 1000.", _MEDPLUM),
            Quirk(
                "rate limit",
                "A RateLimit header tells what is left; 429 comes with Retry-After, which is waited for.",
                "https://www.medplum.com/docs/rate-limits",
            ),
        ),
    ),
    Dialect(
        "sekmet",
        signs=r"\bsekmet\b",
        quirks=(
            Quirk(
                "lenient search",
                "An unknown search parameter gives everything and an OperationOutcome entry: what was not "
                "asked for is left out, and the search is not called complete.",
                "https://github.com/KaRamHelal/SEKMET_FHIR_R4_Tester",
            ),
        ),
    ),
)
_BY_NAME = {dialect.name: dialect for dialect in (STANDARD, *DIALECTS)}
_CODE = re.compile(r"\d{1,6}")


def named(name: str) -> Dialect | None:
    """The dialect a site names; None for "". Raises ConfigError for one that does not exist."""
    if not name:
        return None
    if name not in _BY_NAME:
        known = ", ".join(sorted(_BY_NAME))
        raise ConfigError(f"no dialect {name!r}", where="site.toml, dialect", fix=f"known: {known}")
    return _BY_NAME[name]


def recognised(statement: Mapping[str, Any], host: str = "") -> Dialect:
    """The make of a server, by its host or by what its CapabilityStatement calls itself."""
    for dialect in DIALECTS:
        if any(host == one or host.endswith(f".{one}") for one in dialect.hosts):
            return dialect
    software = _object(statement, "software")
    running = _object(statement, "implementation")
    words = [software.get("name"), statement.get("name"), statement.get("title"), statement.get("publisher")]
    words += [running.get("description")]
    for said in words:  # the software's own name first: a Microsoft customer may run HAPI
        for dialect in DIALECTS:
            if isinstance(said, str) and re.search(dialect.signs or r"(?!)", said, re.IGNORECASE):
                return dialect
    return STANDARD


def codes_of(issues: Any) -> frozenset[str]:
    """The server's own numbers in the issues of an OperationOutcome: details of other kinds stay unread."""
    found: set[str] = set()
    for issue in issues if isinstance(issues, list) else ():
        details = _object(issue, "details") if isinstance(issue, Mapping) else {}
        coding = details.get("coding")
        for one in coding if isinstance(coding, list) else ():
            code = one.get("code") if isinstance(one, Mapping) else None
            if isinstance(code, str) and _CODE.fullmatch(code):
                found.add(code)
    return frozenset(found)


def codes_in(body: bytes) -> frozenset[str]:
    """:func:`codes_of` an answer that may be no OperationOutcome, or no JSON."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return frozenset()
    return codes_of(said.get("issue")) if isinstance(said, dict) else frozenset()


def _object(owner: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = owner.get(name)
    return found if isinstance(found, Mapping) else {}
