"""Coverage certificates: drawn up from a landing and a protocol, written beside what was landed.

A certificate says nothing that the landing's manifest and the protocol do not; the same two give the same
bytes. Its hash is among the versions of a screening, which keeps a copy, so that a verdict that rests on
silence can be held against what was asked.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from adapter.model import wire
from adapter.model.certificate import Certificate, Readable, SilenceAccount, TypeAccount
from adapter.model.coverage import Coverage
from adapter.model.protocol import Criterion, Protocol
from adapter.model.selection import EventTest, ExposureTest
from adapter.protocol.occurrences import MEDICATION_TYPES
from adapter.source.generations import write_whole
from adapter.source.landing import Landing
from adapter.trial import Trial, landing_sha256

NAME = "coverage-certificate"
Language = Literal["en", "zh"]


def certificate_of(trial: Trial, landing: Landing) -> Certificate:
    """Draw up the certificate of a landing for the trial's protocol at its site."""
    types = tuple(_types(landing))
    readable = {one.resource_type: one.silence for one in types}
    refused = Counter(
        (issue.code, issue.resource_type, issue.detail)
        for issue in landing.issues
        if issue.severity in ("error", "warning")
    )
    return Certificate(
        site=trial.site.site_id,
        protocol=f"{trial.protocol.id} {trial.protocol.version}",
        landed_at=landing.manifest.landed_at,
        generation=landing.manifest.generation,
        landing_sha256=landing_sha256(landing),
        asked=dict(sorted(landing.manifest.asked.items())),
        partial=any(one.silence != "absence" for one in types),
        types=types,
        refused=tuple((*key, times) for key, times in sorted(refused.items())),
        silences=tuple(_silences(trial, readable)),
    )


def sha256_of(certificate: Certificate) -> str:
    return hashlib.sha256(written(certificate)).hexdigest()


def written(certificate: Certificate) -> bytes:
    """The certificate as JSON, always the same bytes."""
    return msgspec.json.format(wire.encode(certificate), indent=1) + b"\n"


def keep(certificate: Certificate, folder: Path) -> None:
    """Leave ``coverage-certificate.json`` and a page to read, in English, in a folder."""
    write_whole(folder / f"{NAME}.json", written(certificate))
    write_whole(folder / f"{NAME}.md", page(certificate, "en").encode())


def read(folder: Path) -> Certificate | None:
    """What :func:`keep` left in a folder, or None."""
    path = folder / f"{NAME}.json"
    return wire.decode(path.read_bytes(), Certificate) if path.exists() else None


def _types(landing: Landing) -> Iterator[TypeAccount]:
    returned: Counter[str] = Counter()
    mixed: set[str] = set()
    for file in landing.manifest.files:
        if len(file.types) == 1:
            returned[file.types[0]] += file.lines
        else:
            mixed.add(file.name)
    if mixed:
        found = landing.resources()
        returned.update(raw.resource_type for raw in found if raw.where.rpartition(":")[0] in mixed)
    rows: defaultdict[str, list[Coverage]] = defaultdict(list)
    for row in landing.coverage:
        rows[row.resource_type].append(row)
    for kind in sorted(rows.keys() | returned.keys() - {""}):
        yield _account(kind, returned[kind], rows[kind])


def _account(kind: str, returned: int, rows: list[Coverage]) -> TypeAccount:
    broken = {row.subject: row.reason for row in rows if not row.complete}
    whole = [row for row in rows if row.complete and row.subject not in broken and "" not in broken]
    ends = [row.end for row in whole]
    last: date | None = min((end for end in ends if end is not None), default=None)
    silence: Readable = "nothing" if not whole else "for some" if broken else "absence"
    return TypeAccount(
        resource_type=kind,
        returned=returned,
        people=len({row.subject for row in rows} - {""}),
        complete=len({row.subject for row in whole} - {""}),
        last=last,
        silence=silence,
        incomplete=dict(sorted(Counter(broken.values()).items())),
        lost=len({row.subject for row in rows if row.lost}),
    )


def _silences(trial: Trial, readable: dict[str, Readable]) -> Iterator[SilenceAccount]:
    """Every condition of the protocol that may read silence as absence, once a criterion."""
    seen: set[tuple[str, str]] = set()
    for criterion, tests in _tests_by_criterion(trial.protocol):
        for test in tests:
            types = test.resource_types if isinstance(test, EventTest) else MEDICATION_TYPES
            if test.silence != "absent_if_covered" or (criterion.id, test.label) in seen:
                continue
            seen.add((criterion.id, test.label))
            found = [readable.get(name, "nothing") for name in types]
            missing = tuple(name for name, how in zip(types, found, strict=True) if how != "absence")
            silence: Readable = (
                "nothing" if not types or "nothing" in found else "for some" if missing else "absence"
            )
            yield SilenceAccount(criterion.id, test.label, types, silence, missing)


@lru_cache(maxsize=4)
def _tests_by_criterion(
    protocol: Protocol,
) -> tuple[tuple[Criterion, tuple[EventTest | ExposureTest, ...]], ...]:
    return tuple((criterion, tuple(_tests(criterion.lines))) for criterion in protocol.every())


def _tests(node: object) -> Iterator[EventTest | ExposureTest]:
    """The conditions in a part of a protocol that look for records, wherever they stand."""
    if isinstance(node, EventTest | ExposureTest):
        yield node
    elif isinstance(node, msgspec.Struct):
        for name in node.__struct_fields__:
            yield from _tests(getattr(node, name))
    elif isinstance(node, list | tuple):
        for one in node:
            yield from _tests(one)


_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "title": "Coverage certificate",
        "partial": "PARTIAL: where an answer is not complete, no record stays unknown; where something asked "
        "for did not come, neither does the latest of what came decide.",
        "whole": "Complete: every type is complete for everyone it was asked for.",
        "asked": "What was asked",
        "types": "What came",
        "heads": "Type | Came | People | Complete for | Up to | No record means | Latest of what came",
        "decides": "decides",
        "decides in scope": "decides within what was asked for and offered",
        "lost for some": "unknown for {lost}, since something asked for did not come",
        "lost": "unknown: something asked for did not come",
        "refused": "What was refused, or is wrong",
        "silences": "What the protocol may conclude from silence",
        "silence_heads": "Criterion | About | No record means | Not complete",
        "absence": "absent",
        "for some": "absent for some people, unknown for the others",
        "nothing": "unknown",
        "everyone": "everyone",
        "none": "nothing",
    },
    "zh": {
        "title": "数据覆盖证明",
        "partial": "不完整：凡答复不完整之处，没有记录一律视为未知；请求的记录未取得之处，"
        "已取得记录中的最新值也不能用于判定。",
        "whole": "完整：所请求的每种资源对每位患者均已完整取得。",
        "asked": "请求的内容",
        "types": "取得的内容",
        "heads": "资源类型 | 数量 | 人数 | 完整人数 | 截至 | 没有记录表示 | 已取得记录中的最新值",
        "decides": "可用于判定",
        "decides in scope": "在已请求且可提供的范围内可用于判定",
        "lost for some": "{lost} 人未知：请求的部分记录未取得",
        "lost": "未知：请求的部分记录未取得",
        "refused": "被拒绝或有问题的内容",
        "silences": "方案可从“没有记录”得出的结论",
        "silence_heads": "标准 | 关于 | 没有记录表示 | 不完整的资源",
        "absence": "无",
        "for some": "部分患者为无，其余未知",
        "nothing": "未知",
        "everyone": "全部",
        "none": "无",
    },
}


def page(certificate: Certificate, language: Language = "en") -> str:
    """The certificate as Markdown, for an engineer and an auditor to read."""
    say = _WORDS[language]
    lines = [
        f"# {say['title']}: {certificate.site}, {certificate.protocol}",
        "",
        say["partial"] if certificate.partial else say["whole"],
        "",
        f"{certificate.landed_at}, generation {certificate.generation}, landing SHA-256 "
        f"`{certificate.landing_sha256}`",
        "",
        f"## {say['asked']}",
        "",
        *(f"- {name}: {text}" for name, text in certificate.asked.items() if text),
        "",
        f"## {say['types']}",
        "",
        *_table(say["heads"], (_type_row(one, say) for one in certificate.types)),
        "",
        f"## {say['refused']}",
        "",
        *(f"- {times} x {code} {kind}: {detail}" for code, kind, detail, times in certificate.refused),
        *([] if certificate.refused else [f"- {say['none']}"]),
        "",
        f"## {say['silences']}",
        "",
        *_table(
            say["silence_heads"],
            (
                (one.criterion, one.about, say[one.silence], ", ".join(one.missing))
                for one in certificate.silences
            ),
        ),
    ]
    return "\n".join(lines) + "\n"


def _type_row(one: TypeAccount, say: dict[str, str]) -> tuple[str, ...]:
    means = say[one.silence]
    reasons = "; ".join(f"{times} x {reason}" for reason, times in one.incomplete.items())
    return (
        one.resource_type,
        str(one.returned),
        str(one.people or say["everyone"]),
        str(one.complete or ("" if one.people else say["everyone"] if one.silence == "absence" else "0")),
        str(one.last or ""),
        f"{means} ({reasons})" if reasons else means,
        _latest(one, say),
    )


def _latest(one: TypeAccount, say: dict[str, str]) -> str:
    """Whether the records that came may say which is the latest, the highest, the first."""
    if one.lost:
        return say["lost for some"].format(lost=one.lost) if one.lost < one.people else say["lost"]
    return say["decides in scope"] if one.incomplete else say["decides"]


def _table(heads: str, rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {heads} |"
    yield "|" + "---|" * (heads.count("|") + 1)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
