"""The protocol as a Markdown page that a nephrologist can review without knowing YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from adapter.model.decision import Verdict
from adapter.model.nodes import Period, descend, same_meaning
from adapter.model.protocol import Criterion, FlagRule, Line, OtherReading, Protocol, ResponseLine
from adapter.model.rules import Attested, AttestedDay, Condition, Not
from adapter.model.selection import ExposureTest, Selection
from adapter.protocol.case_file import Case, Expectation
from adapter.protocol.render.anchors import say_anchor
from adapter.protocol.render.moments import say_moment, say_offset, say_period, say_window
from adapter.protocol.render.readings import define_selection
from adapter.protocol.render.sentence import outline, say_condition
from adapter.protocol.render.voice import Voice

FILE = "mappings/protocols/{id}/protocol.yaml"


def render_page(
    protocol: Protocol, cases: Iterable[Case], voice: Voice, questions: Mapping[str, str] | None = None
) -> str:
    """The whole page; ``questions`` maps linkIds of the Questionnaire to their texts, where known."""
    proofs = _proofs(cases)
    blocks: list[str] = [*_head(protocol, voice), *_overall(protocol, voice), *_candidates(protocol, voice)]
    for kind in ("inclusion", "exclusion"):
        blocks.append(f"## {voice.heading(kind)}")
        for top in protocol.criteria:
            if top.kind == kind:
                blocks += _criteria(top, proofs, voice, 3)
    blocks += after_entry(protocol, proofs, voice)
    blocks += _days(protocol, voice)
    blocks += _windows(protocol, voice)
    blocks += _readings(protocol, voice)
    blocks += _questions(protocol, voice, questions or {})
    blocks += _drugs(protocol, voice)
    return "\n\n".join(blocks) + "\n"


def _head(protocol: Protocol, voice: Voice) -> Iterator[str]:
    title = (protocol.title_zh if voice.language == "zh" else "") or protocol.title
    yield f"# {protocol.id}: {title}"
    yield (
        voice.heading("generated", file=FILE.format(id=protocol.id))
        + " **"
        + voice.heading("unreviewed")
        + "**"
    )
    yield voice.heading("three")
    facts = [(voice.heading("version"), protocol.version), (voice.heading("source"), protocol.source)]
    if protocol.study.enrolment is not None:
        facts.append((voice.heading("enrolment"), str(protocol.study.enrolment)))
    facts += [(f"{voice.heading('arm')} {arm.code}", arm.title) for arm in protocol.study.arms]
    yield _bullets(f"{name}{voice.phrase('colon')}{value}" for name, value in facts if value)


def _overall(protocol: Protocol, voice: Voice) -> Iterator[str]:
    yield f"## {voice.heading('overall')}"
    yield voice.heading("overall_rule", ids=", ".join(protocol.counts))


def _candidates(protocol: Protocol, voice: Voice) -> Iterator[str]:
    clause = protocol.candidates
    named = (*clause.events, *clause.findings, *clause.drugs)
    if not named:
        return
    yield f"## {voice.heading('candidates')}"
    yield voice.heading("candidates_rule", names=voice.phrase("comma").join(voice.name(key) for key in named))
    if clause.unless is not None:
        yield voice.heading("unless")
        yield _condition(clause.unless, voice)


def _criteria(
    criterion: Criterion, proofs: Mapping[str, list[str]], voice: Voice, depth: int
) -> Iterator[str]:
    yield from _criterion(criterion, proofs, voice, depth)
    for child in criterion.criteria:
        yield from _criteria(child, proofs, voice, min(depth + 1, 6))


def _criterion(
    criterion: Criterion, proofs: Mapping[str, list[str]], voice: Voice, depth: int
) -> Iterator[str]:
    zh = voice.language == "zh"
    yield f"{'#' * depth} {criterion.id}"
    yield "> " + _cell((criterion.text_zh if zh else "") or criterion.text)
    if criterion.source:
        yield f"{voice.heading('source')}{voice.phrase('colon')}{_cell(criterion.source)}"
    key = "line.simple" if is_simple(criterion) else "line.table"
    yield f"**{voice.heading('rule')}** {voice.phrase(key)}{voice.phrase('colon').rstrip()}"
    yield _body(criterion, voice)
    if criterion.flags:
        yield voice.heading("flags")
        yield "\n".join(_flag(rule, voice) for rule in criterion.flags)
    if criterion.alternatives:
        yield voice.heading("other_readings")
        yield "\n".join(_alternative(other, voice) for other in criterion.alternatives)
    settles = (criterion.settles_zh if zh else "") or criterion.settles
    if settles:
        yield f"{voice.heading('settles')} {settles}"
    if criterion.visit:
        yield voice.heading("at_visit", visit=criterion.visit)
    if criterion.severity:
        yield voice.heading("severity", severity=voice.heading(f"severity.{criterion.severity}"))
    if criterion.pending:
        yield voice.heading("pending")
    yield from _cases(criterion.id, proofs, voice)


def is_simple(rule: Criterion | OtherReading) -> bool:
    """Written as ``met_when``: one condition, met when it holds and not met when it does not."""
    if len(rule.lines) != 2:
        return False
    met, other = rule.lines
    whole = (Verdict.MET, Verdict.NOT_MET, "", "", (), ())
    said = (met.verdict, other.verdict, met.because, other.because, met.flags, other.flags)
    return said == whole and same_meaning(other.when, Not(part=met.when)) and not (met.review or other.review)


def _body(rule: Criterion | OtherReading, voice: Voice, depth: int = 0) -> str:
    if is_simple(rule):
        return _condition(rule.lines[0].when, voice, depth)
    return "\n".join(_line(line, number, voice, depth) for number, line in enumerate(rule.lines, start=1))


def _line(line: Line, number: int, voice: Voice, depth: int) -> str:
    extra = [voice.phrase("line.because", because=line.because)] if line.because else []
    if line.flags:
        extra.append(voice.phrase("line.flags", flags=", ".join(f"`{flag}`" for flag in line.flags)))
    if line.review:
        extra.append(voice.phrase("line.review"))
    verdict = f"**{voice.phrase(f'verdict.{line.verdict.value}')}**"
    head = f"{number}. {voice.phrase('line.when', verdict=verdict)}{voice.bracketed(extra)}"
    return f"{'    ' * depth}{head}\n{_condition(line.when, voice, depth + 1)}"


def _condition(condition: Condition, voice: Voice, depth: int = 0) -> str:
    """Nested bullets; four spaces a level, which every Markdown reader takes as one."""
    return "\n".join(
        f"{'    ' * (depth + row.depth)}- {_cell(row.text)}" for row in outline(condition, voice)
    )


def _flag(rule: FlagRule, voice: Voice) -> str:
    review = voice.bracketed((voice.phrase("line.review"),)) if rule.review else ""
    return f"- `{rule.name}`{review}{voice.phrase('colon').rstrip()}\n{_condition(rule.when, voice, 1)}"


def _alternative(other: OtherReading, voice: Voice) -> str:
    review = voice.bracketed((voice.phrase("line.review"),)) if other.review else ""
    return f"- `{other.name}`{voice.phrase('colon')}{_cell(other.reading)}{review}\n{_body(other, voice, 1)}"


def _proofs(cases: Iterable[Case]) -> dict[str, list[str]]:
    """Table rows by criterion id, in the order of the cases file."""
    found: dict[str, list[str]] = {}
    for case in cases:
        for wanted in case.expected:
            row = f"| {_cell(case.name)} | {case.as_of} | {_expected(wanted)} | {_cell(case.because)} |"
            found.setdefault(wanted.target, []).append(row)
    return found


def _expected(wanted: Expectation) -> str:
    signs = [*sorted(wanted.flags), *(f"-{flag}" for flag in sorted(wanted.absent_flags))]
    return wanted.verdict.replace("_", " ") + (f" [{', '.join(signs)}]" if signs else "")


def _cases(criterion_id: str, proofs: Mapping[str, list[str]], voice: Voice) -> Iterator[str]:
    if criterion_id not in proofs:
        yield voice.heading("no_cases")
        return
    yield voice.heading("cases")
    heads = [voice.heading(key) for key in ("case", "as_of", "expected", "because")]
    yield _table(heads, proofs[criterion_id])


def after_entry(protocol: Protocol, proofs: Mapping[str, list[str]], voice: Voice) -> Iterator[str]:
    """Visits, the response at a visit, and what is watched: endpoints, exits, doses, safety, deviations."""
    plan = protocol.plan
    yield from _visits(protocol, voice)
    if plan.responses:
        yield f"## {voice.heading('responses')}"
        yield f"{voice.phrase('line.table')}{voice.phrase('colon').rstrip()}"
        yield "\n".join(_response(line, number, voice) for number, line in enumerate(plan.responses, start=1))
    for key in ("endpoints", "exits", "doses", "safety", "deviations"):
        tops: tuple[Criterion, ...] = getattr(plan, key)
        if tops:
            yield f"## {voice.heading(key)}"
        for top in tops:
            yield from _criteria(top, proofs, voice, 3)
    yield from _due(protocol, voice)


def _visits(protocol: Protocol, voice: Voice) -> Iterator[str]:
    rows = [
        _cells(
            (
                visit.id,
                (visit.name_zh if voice.language == "zh" else "") or visit.name,
                say_offset(visit.day, voice),
                say_window(visit.first, visit.last, voice),
                f"`{visit.reading}`" if visit.reading else "",
                visit.source,
            )
        )
        for visit in protocol.visits
    ]
    heads = ("visit", "name", "day", "window", "reading", "source")
    section = list(_section("visits", heads, rows, voice))
    if section and protocol.plan.day_zero:
        section.insert(1, voice.heading("from_day_zero", anchor=voice.day(protocol.plan.day_zero)))
    yield from section


def _response(line: ResponseLine, number: int, voice: Voice) -> str:
    because = voice.bracketed((voice.phrase("line.because", because=line.because),)) if line.because else ""
    state = f"**{voice.phrase(f'response.{line.state}')}**"
    head = voice.phrase("line.when", verdict=state)
    source = f" ({line.source})" if line.source else ""
    said = f"{number}. {head}{because}{source}\n{_condition(line.when, voice, 1)}"
    for other in line.alternatives:
        said += f"\n   - `{other.name}`: {other.reading}\n{_condition(other.when, voice, 2)}"
    return said


def _due(protocol: Protocol, voice: Voice) -> Iterator[str]:
    rows = []
    for rule in protocol.plan.due:
        what = (rule.what_zh if voice.language == "zh" else "") or rule.what
        when = say_condition(rule.when, voice) if rule.when is not None else ""
        done = say_condition(rule.done_when, voice) if rule.done_when is not None else ""
        origin = say_moment(rule.after, voice) if rule.after is not None else ""
        days = (say_offset(rule.day, voice), say_window(rule.first, rule.last, voice), origin)
        rows.append(_cells((rule.id, what, *days, when, done, rule.source)))
    heads = ("name", "what", "day", "window", "counted_from", "when", "done_when", "source")
    yield from _section("due", heads, rows, voice)
    if rows and protocol.plan.until is not None:
        yield voice.heading("until", moment=say_moment(protocol.plan.until, voice))


def _days(protocol: Protocol, voice: Voice) -> Iterator[str]:
    rows = [
        f"| {_called(named.name, voice)} | {_cell(say_anchor(named.rule, voice))} |"
        for named in protocol.anchors
        if not isinstance(named.rule, Period | Selection)
    ]
    yield from _section("days", ("name", "meaning"), rows, voice)


def _called(anchor: str, voice: Voice) -> str:
    """The name in the file and, where it differs, the one in the sentences."""
    said = voice.day(anchor)
    return f"`{anchor}`" if said == anchor else f"`{anchor}` {_cell(said)}"


def _windows(protocol: Protocol, voice: Voice) -> Iterator[str]:
    rows = [
        f"| `{named.name}` | {_cell(say_period(named.rule, voice).strip())} |"
        for named in protocol.windows
        if isinstance(named.rule, Period)
    ]
    yield from _section("windows", ("name", "meaning"), rows, voice)


def _readings(protocol: Protocol, voice: Voice) -> Iterator[str]:
    rows = [
        f"| `{named.name}` | {_cell(define_selection(named.rule, voice))} |"
        for named in protocol.readings
        if isinstance(named.rule, Selection)
    ]
    yield from _section("readings", ("name", "meaning"), rows, voice)


def _questions(protocol: Protocol, voice: Voice, questions: Mapping[str, str]) -> Iterator[str]:
    """Every linkId that a rule or an anchor asks, its text, and what asks it."""
    asked: dict[str, list[str]] = {link: [] for link in sorted(asked_links(protocol))}
    for criterion in protocol.every():
        own = (criterion.lines, criterion.flags, criterion.alternatives)
        for link in sorted({node.link for node in descend(own) if isinstance(node, Attested)}):
            asked[link].append(criterion.id)
    for named in protocol.anchors:
        for node in descend(named.rule):
            if isinstance(node, AttestedDay):
                asked[node.link].append(named.name)
    rows = [
        f"| `{link}` | {_cell(questions.get(link, ''))} | {', '.join(dict.fromkeys(names))} |"
        for link, names in asked.items()
    ]
    yield from _section("questions", ("name", "question", "used_by"), rows, voice)


def asked_links(protocol: Protocol) -> frozenset[str]:
    """The linkIds of the Questionnaire that anything in the protocol asks."""
    return frozenset(node.link for node in descend(protocol) if isinstance(node, Attested | AttestedDay))


def _drugs(protocol: Protocol, voice: Voice) -> Iterator[str]:
    """What the roles and classes that rules name consist of."""
    groups: dict[tuple[str, str], None] = {}
    for node in descend(protocol):
        if isinstance(node, ExposureTest) and node.by != "drug":
            groups.update({(node.by, name): None for name in node.names})
    rows = []
    for by, name in sorted(groups):
        drugs = voice.vocabulary.drugs.values()
        inside = sorted(
            drug.key for drug in drugs if name in ((drug.role,) if by == "role" else drug.classes)
        )
        members = voice.phrase("comma").join(voice.name(key) for key in inside)
        rows.append(f"| `{name}` | {_cell(members)} |")
    yield from _section("drugs", ("drug_group", "members"), rows, voice)


def _section(key: str, heads: Iterable[str], rows: list[str], voice: Voice) -> Iterator[str]:
    if rows:
        yield f"## {voice.heading(key)}"
        yield _table([voice.heading(head) for head in heads], rows)


def _table(heads: list[str], rows: Iterable[str]) -> str:
    return "\n".join((f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *rows))


def _cells(texts: Iterable[str]) -> str:
    return f"| {' | '.join(_cell(text) for text in texts)} |"


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {_cell(item)}" for item in items)


def _cell(text: str) -> str:
    """Text that cannot end a table cell or a line."""
    return " ".join(text.split()).replace("|", "\\|")
