"""The digest: what a round changed, in counts, to those who look after the study. Nobody is named in it.

Mail is read on telephones and kept for years by servers that are nobody's in particular. So it says how many
and where to look; who it is stands behind sign-in.
"""

from __future__ import annotations

import smtplib
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

import msgspec

from adapter.config import Digest
from adapter.errors import ConfigError, SourceUnavailable
from adapter.model.decision import Verdict
from adapter.monitoring import MonitoringReport
from adapter.screening import Screening

_TIMEOUT = 30.0

_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "subject": "{study}, {site}: {news}",
        "nothing": "nothing new",
        "news": "{n} changes",
        "as_of": "As of {day}.",
        "eligible": "newly eligible: {n}",
        "undetermined": "newly undetermined: {n}",
        "ineligible": "newly ineligible: {n}",
        "alerts": "newly raised safety lines: {n}",
        "overdue": "people with something overdue: {n}",
        "waiting": "write-backs that wait for approval: {n}",
        "partial": "not read completely: {types}. Who is affected is shown as unknown, not as absent.",
        "failed": "This step failed and is tried again with the next round: {steps}.",
        "page": "See {page}",
        "nobody": "This mail names nobody on purpose.",
    },
    "zh": {
        "subject": "{study}，{site}：{news}",
        "nothing": "无新变化",
        "news": "{n} 项变化",
        "as_of": "截至 {day}。",
        "eligible": "新符合：{n}",
        "undetermined": "新未定：{n}",
        "ineligible": "新不符合：{n}",
        "alerts": "新增安全性提示：{n}",
        "overdue": "有逾期事项者：{n}",
        "waiting": "等待审批的回写：{n}",
        "partial": "未完整读取：{types}。受影响者显示为未知，而非没有。",
        "failed": "以下步骤失败，下一轮将重试：{steps}。",
        "page": "请见 {page}",
        "nobody": "本邮件有意不含任何人的信息。",
    },
}


class News(msgspec.Struct, frozen=True):
    """What one round brought. ``moved`` counts people by their new verdict; ``alerts`` safety lines that were
    not raised before, ``overdue`` people, ``waiting`` write-backs that a person has to allow. ``partial``
    names types that were not read completely, ``failed`` steps that did not end well."""

    study: str
    site: str
    as_of: date
    moved: dict[str, int] = {}
    alerts: int = 0
    overdue: int = 0
    waiting: int = 0
    partial: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def changes(self) -> int:
        return sum(self.moved.values()) + self.alerts

    @property
    def quiet(self) -> bool:
        """Whether nobody has to do anything."""
        return not (self.changes or self.overdue or self.waiting or self.partial or self.failed)


def moved(before: Screening | None, after: Screening) -> dict[str, int]:
    """People whose verdict is another one than in the screening before, by the new one."""
    known = {one.subject: one.overall for one in before.decisions} if before else {}
    found = Counter(one.overall.value for one in after.decisions if known.get(one.subject) is not one.overall)
    return dict(sorted(found.items()))


def raised(before: MonitoringReport | None, after: MonitoringReport | None) -> int:
    """Safety lines raised now that were not before."""

    def lines(report: MonitoringReport | None) -> set[tuple[str, str]]:
        rows = report.rows if report else ()
        return {(row.subject, one.id) for row in rows for one in row.safety if one.verdict is Verdict.MET}

    return len(lines(after) - lines(before))


def overdue(report: MonitoringReport | None) -> int:
    rows = report.rows if report else ()
    return sum(any(one.status == "overdue" for one in row.due) for row in rows)


def message(news: News, settings: Digest, now: datetime) -> EmailMessage:
    """The mail, in the language of ``settings``; plain text."""
    say = _WORDS[settings.language]
    head = say["news"].format(n=news.changes) if news.changes else say["nothing"]
    lines = [say["as_of"].format(day=news.as_of.isoformat()), ""]
    counts = {**news.moved, "alerts": news.alerts, "overdue": news.overdue, "waiting": news.waiting}
    lines += [f"- {say[name].format(n=count)}" for name, count in counts.items() if count]
    lines += [f"- {say['partial'].format(types=', '.join(news.partial))}"] if news.partial else []
    lines += [f"- {say['failed'].format(steps=', '.join(news.failed))}"] if news.failed else []
    lines += ["", say["page"].format(page=settings.page)] if settings.page else []
    lines += ["", say["nobody"], ""]
    mail = EmailMessage()
    mail["Subject"] = say["subject"].format(study=news.study, site=news.site, news=head)
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n".join(lines))
    return mail


def send(
    mail: EmailMessage, settings: Digest, *, connect: Callable[..., smtplib.SMTP] = smtplib.SMTP
) -> None:
    """Hand the mail to the site's server, by STARTTLS unless it is this machine.

    Raises :class:`SourceUnavailable` if it cannot be reached or refuses for now, :class:`ConfigError` if it
    offers no TLS, or refuses the user or a recipient.
    """
    where = f"{settings.host}:{settings.port}"
    try:
        with connect(settings.host, settings.port, timeout=_TIMEOUT) as server:
            if settings.host not in ("localhost", "127.0.0.1", "::1"):
                context = ssl.create_default_context(cafile=settings.ca_file or None)
                server.starttls(context=context)
            if settings.user:
                server.login(settings.user, settings.password())
            server.send_message(mail)
    except (smtplib.SMTPNotSupportedError, smtplib.SMTPAuthenticationError) as fault:
        raise ConfigError(
            f"the mail server does not take this ({type(fault).__name__})",
            where=where,
            fix="it has to offer STARTTLS; see [digest] user and password_file",
        ) from None
    except smtplib.SMTPRecipientsRefused:
        raise ConfigError("the mail server refuses a recipient", where=where, fix="see [digest] to") from None
    except (OSError, smtplib.SMTPException) as fault:
        raise SourceUnavailable(
            f"the mail server cannot be reached ({type(fault).__name__})",
            where=where,
            fix="the next round tries",
        ) from None
