"""Every name that a protocol file may use, as a Markdown page for those who write one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from adapter.model.protocol import ConceptInfo, DrugInfo, Vocabulary

_HEAD = """\
# Names for protocol authors

Written by `adapter render --as names --out docs` from `mappings/`; change those files, not this page. What
the words around these names mean is in [protocol-vocabulary.md](protocol-vocabulary.md). A name that is
missing is added as data: a concept in `mappings/concepts.yaml` with its codes in `mappings/codes/`, a drug in
`mappings/drugs.csv`, a unit in `mappings/units.csv`. Nobody clinical has reviewed these lists."""

_DATE_TESTS = "`before`, `on_or_before`, `after`, `on_or_after`, or an anchor"
_CHOICE = "small letters, joined by hyphens (`partial-remission`), or Roman numerals (`II`, `I-II`)"
_TEXT_TESTS = "a comparison if it is a number or a range; any text with `code`, exactly as written"
_ANSWERS = f"""\
## Attested answers

A protocol names the questions itself: `attested: <linkId>` reads the question of that linkId in its
`questionnaire`. In a worked case ([cases.md](cases.md)) an answer becomes

| written | becomes | asked with |
|---|---|---|
| `true`, `false` | a truth value | `is: true`, `is: false` |
| `2019-06-03`, `2019-06`, `2019`, an instant | a date | {_DATE_TESTS} |
| {_CHOICE} | a choice | `code` |
| anything else (`25-50%`, `type-1`), and `mild`, `moderate`, `severe` | a text | {_TEXT_TESTS} |

`code` compares the code of a choice, or the text."""

_MEANING = {"unknown": "unknown", "absent_if_covered": "absent, where the records were completely fetched"}


def render_names(vocabulary: Vocabulary, chinese: Mapping[str, str]) -> str:
    """The page; ``chinese`` maps concept and drug keys to their Chinese names."""
    blocks = [_HEAD, *_findings(vocabulary, chinese), *_events(vocabulary, chinese)]
    blocks += [*_drugs(vocabulary, chinese), *_groups(vocabulary), _ANSWERS]
    return "\n\n".join(blocks) + "\n"


def _findings(vocabulary: Vocabulary, chinese: Mapping[str, str]) -> Iterator[str]:
    yield "## Findings"
    yield (
        "For `finding`. Amounts are written in this unit or one that converts exactly to it; a concept "
        "without a unit has answers or codes. *Counts for*: its readings count where that concept is named. "
        "*Shown only*: no verified code gives it, so records never decide."
    )
    rows = (
        (
            f"`{key}`",
            info.label,
            chinese.get(key, ""),
            f"`{info.unit}`" if info.unit else "",
            _counts_for(info),
        )
        for key, info in _of_kind(vocabulary, "finding")
    )
    yield _table(("name", "English", "Chinese", "unit", "counts for"), rows)


def _events(vocabulary: Vocabulary, chinese: Mapping[str, str]) -> Iterator[str]:
    yield "## Events"
    yield "For `event`. *No record* is what silence means unless `if_none` says otherwise."
    rows = (
        (f"`{key}`", info.label, chinese.get(key, ""), _MEANING[info.silence], _counts_for(info))
        for key, info in _of_kind(vocabulary, "event")
    )
    yield _table(("name", "English", "Chinese", "no record", "counts for"), rows)


def _of_kind(vocabulary: Vocabulary, kind: str) -> Iterator[tuple[str, ConceptInfo]]:
    return ((key, info) for key, info in sorted(vocabulary.concepts.items()) if info.kind == kind)


def _counts_for(info: ConceptInfo) -> str:
    said = [f"`{name}`" for name in info.broader]
    return ", ".join([*said, *([] if info.decides else ["shown only"])])


def _drugs(vocabulary: Vocabulary, chinese: Mapping[str, str]) -> Iterator[str]:
    yield "## Drugs"
    yield (
        "For `drug`: that row alone, without its other forms, salts of another row or biosimilars. A group "
        "is named by `role` or `class`."
    )
    rows = (
        (f"`{key}`", drug.label, chinese.get(key, ""), _code(drug.role), ", ".join(map(_code, drug.classes)))
        for key, drug in sorted(vocabulary.drugs.items())
    )
    yield _table(("name", "English", "Chinese", "role", "classes"), rows)


def _groups(vocabulary: Vocabulary) -> Iterator[str]:
    drugs = sorted(vocabulary.drugs.items())
    groups = (("Roles", "role", vocabulary.roles()), ("Classes", "class", vocabulary.classes()))
    for title, head, names in groups:
        yield f"## {title}"
        rows = (
            (_code(name), ", ".join(_code(key) for key, drug in drugs if _is_in(drug, head, name)))
            for name in names
        )
        yield _table((head, "drugs"), rows)


def _is_in(drug: DrugInfo, head: str, name: str) -> bool:
    return name == drug.role if head == "role" else name in drug.classes


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)
