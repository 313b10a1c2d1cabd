"""Faults, grouped by what the caller should do about them.

Bad data is not a fault: it travels as an :class:`adapter.model.issue.Issue` row. What is raised
here stops something. ``exit_code`` follows ``sysexits.h`` so that a scheduler can tell a mistake
in a mapping file (do not retry) from a hospital server that is down (retry).
"""


class AdapterError(Exception):
    """Anything this package raises on purpose; carries what to do about it."""

    exit_code = 70

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  fix: {self.fix}" if self.fix else text


class Fatal(AdapterError):
    """Will fail again in the same way until a person changes something."""


class Retriable(AdapterError):
    """May succeed later without anyone changing anything (EX_TEMPFAIL)."""

    exit_code = 75


class Skippable(AdapterError):
    """Costs one unit of work (one resource type, one subject), which is marked, not the run."""

    exit_code = 69


class ConfigError(Fatal):
    """The configuration cannot be used (EX_CONFIG)."""

    exit_code = 78


class MappingError(Fatal):
    """A file under ``mappings/`` is wrong; ``where`` is ``file:line`` (EX_DATAERR)."""

    exit_code = 65


class ProtocolError(MappingError):
    """A protocol or cases file uses a word, unit, anchor or concept that does not exist."""


class NotFound(Fatal):
    """Something asked for by its name is not there (EX_DATAERR)."""

    exit_code = 65


class CoverageError(Fatal):
    """A step needs data that was never fetched; reading it as absence would be wrong."""

    exit_code = 66


class SourceRefused(Skippable):
    """The hospital server understood and said no (401, 403, 404, 422, break-the-glass)."""


class SourceUnavailable(Retriable):
    """The hospital server did not answer, or answered with a passing fault."""


class SourceUntrustworthy(Fatal):
    """The answer cannot be what was asked for (login page, foreign host, ignored parameter)."""

    exit_code = 76


class WriteConflict(Retriable):
    """Someone changed the resource in between (409, 412): read again, decide again."""


class WriteRefused(Fatal):
    """The server will not take this write; another rung has to carry it."""

    exit_code = 77


class WorkerLost(Retriable):
    """A process that did part of a screening was killed; what was finished is kept, and not done again."""


class StoreUnavailable(Retriable):
    """The adapter's own database is locked, full or gone; what was not acknowledged did not happen."""


class ExportError(Fatal):
    """A dataset would break its own specification (length, codelist, type)."""

    exit_code = 65


class PullRefused(Fatal):
    """A site does not give a sponsor what was asked for, and says why (EX_NOPERM)."""

    exit_code = 77


class PullUnavailable(Retriable):
    """A site does not answer, or the way to it broke off; the next pull goes on where this one stopped."""


class PullUntrustworthy(Fatal):
    """What came is not what the site's manifest promised, or not from an adapter at all (EX_PROTOCOL)."""

    exit_code = 76
