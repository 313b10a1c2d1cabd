"""One tree, many faces: every rule in words, in two languages, with nothing lost."""

from __future__ import annotations

import importlib
import pkgutil
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

import adapter.model
from adapter import explaining, pipeline
from adapter.cli import render_view
from adapter.model.nodes import Node, descend, meaning
from adapter.model.protocol import Protocol
from adapter.model.rules import AnchorRule, Condition
from adapter.model.selection import ReadingTest
from adapter.protocol import load, words
from adapter.protocol.case_file import load_cases
from adapter.protocol.render import headings_en, headings_zh, words_en, words_zh
from adapter.protocol.render.anchors import say_anchor
from adapter.protocol.render.page import asked_links
from adapter.protocol.render.sentence import outline, say_condition
from adapter.protocol.render.voice import LANGUAGES, Language, Voice
from tests.spec.render_examples import ANCHORS, CONDITIONS, HEAD

FOLDERS = sorted(path.parent for path in Path("mappings/protocols").glob("*/protocol.yaml"))
# Told by other pages: protocol.py by the page as a whole, ladder.py by docs/ladders.md.
TOLD_ELSEWHERE = ("adapter.model.protocol", "adapter.model.ladder")
CONDITION_TYPES = get_args(Condition)


@cache
def trial(folder: Path | None = None) -> pipeline.Trial:
    return pipeline.open_trial(folder, site="")


def voice(language: Language) -> Voice:
    return explaining.voice_of(trial(), language)


def nodes() -> list[str]:
    for module in pkgutil.iter_modules(adapter.model.__path__, "adapter.model."):
        importlib.import_module(module.name)
    return sorted(node.__name__ for node in Node.__subclasses__() if node.__module__ not in TOLD_ELSEWHERE)


@pytest.mark.parametrize("node", nodes())
@pytest.mark.parametrize("phrases", [words_en.PHRASES, words_zh.PHRASES], ids=["en", "zh"])
def test_every_node_of_the_rules_has_words(node: str, phrases: dict[str, str]) -> None:
    assert [key for key in phrases if key.split(".")[0] == node], f"add words for {node} in both languages"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [(words_en.PHRASES, words_zh.PHRASES), (headings_en.HEADINGS, headings_zh.HEADINGS)],
    ids=["phrases", "headings"],
)
def test_both_languages_have_the_same_phrases_with_the_same_blanks(
    english: dict[str, str], chinese: dict[str, str]
) -> None:
    assert sorted(english) == sorted(chinese)
    for key, text in english.items():
        assert blanks(text) == blanks(chinese[key]), key


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


WORDED = {
    "Selection": words.TAKES,
    "presence": words.PRESENCES,
    "EventTest": words.TIMINGS,
    "EventDay": (*words.EDGES, "earliest", "latest"),
    "ExposureTest": words.SELECTORS,
    "kind": words.PLACES["kind"],
    "Bound": words.COMPARISONS,
    "Elapsed": words.ELAPSED,
    "DayIs": words.DATE_RELATIONS,
    "DayTest": words.DATE_RELATIONS,
    "SexIs": words.SEXES,
    "Amount": (*words.LIMITS, "reading"),
    "answer": words.ANSWERS,
    "CriterionIs": words.VERDICTS,
    "verdict": words.VERDICTS,
    "silence": (*words.IF_NONE, "absent_if_covered"),
    "kind_of": words.KINDS,
    "response": words.RESPONSES,
    "DoseOf": words.DOSE_TAKES,
    "DoseChanged": words.DIRECTIONS,
    "overall": words.OVERALLS,
}


@pytest.mark.parametrize("node", WORDED)
def test_every_value_of_the_vocabulary_has_words(node: str) -> None:
    for word in WORDED[node]:
        assert f"{node}.{word}" in words_en.PHRASES
        assert f"{node}.{word}" in words_zh.PHRASES


def example(text: str, place: str, folder: Path) -> Protocol:
    """A protocol with one more condition or anchor, read as any other."""
    body = f"{{{text}}}"
    anchors = f"  asked: {body}\n" if place == "anchor" else ""
    rule = "sex: male" if place == "anchor" else text
    head = HEAD.replace("# ANCHOR\n", anchors)
    folder.joinpath("protocol.yaml").write_text(
        f"{head}  - {{id: ASKED, kind: inclusion, text: asked, met_when: {{{rule}}}}}\n", encoding="utf-8"
    )
    return load(folder, trial().vocabulary)


@pytest.mark.parametrize(("text", "english", "chinese"), CONDITIONS, ids=[row[0] for row in CONDITIONS])
def test_a_condition_in_words(text: str, english: str, chinese: str, tmp_path: Path) -> None:
    condition = example(text, "condition", tmp_path).criterion("ASKED").lines[0].when
    assert say_condition(condition, voice("en")) == english
    assert say_condition(condition, voice("zh")) == chinese


@pytest.mark.parametrize(("text", "english", "chinese"), ANCHORS, ids=[row[0] for row in ANCHORS])
def test_an_anchor_in_words(text: str, english: str, chinese: str, tmp_path: Path) -> None:
    [rule] = [named.rule for named in example(text, "anchor", tmp_path).anchors if named.name == "asked"]
    assert say_anchor(rule, voice("en")) == english
    assert say_anchor(rule, voice("zh")) == chinese


def test_the_examples_cover_every_node(tmp_path: Path) -> None:
    """Fails when a node is added to the rules and nobody says how it sounds."""
    seen: set[type] = set()
    for text, _, _ in CONDITIONS:
        seen |= {type(node) for node in descend(example(text, "condition", tmp_path).criteria)}
    for text, _, _ in ANCHORS:
        seen |= {type(node) for node in descend(example(text, "anchor", tmp_path).anchors)}
    wanted = {*CONDITION_TYPES, *get_args(AnchorRule), *get_args(ReadingTest)}
    assert sorted(node.__name__ for node in wanted - seen) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_means_something_else_sounds_different(folder: Path, language: Language) -> None:
    """No condition of a shipped protocol loses anything of its meaning on the way into words."""
    told: dict[str, list[Node]] = {}
    for condition in conditions(trial(folder).protocol):
        told.setdefault(say_condition(condition, voice(language)), []).append(condition)
    for text, found in told.items():
        assert len({str(meaning(node)) for node in found}) == 1, text
    assert len(told) > 20


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_outline_says_what_the_line_says(language: Language) -> None:
    """Each simple condition of an outline is part of the one-line form, in the same order."""
    for condition in conditions(trial().protocol):
        whole, place = say_condition(condition, voice(language)), 0
        for row in outline(condition, voice(language)):
            if not row.text.endswith((":", "：")) and row.text not in ("if", "then", "若", "则"):
                assert row.text in whole[place:], (row, whole)
                place = whole.index(row.text, place)


def conditions(protocol: Protocol) -> Iterator[Node]:
    return (node for node in descend(protocol) if isinstance(node, CONDITION_TYPES))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_concept_and_drug_of_a_chinese_page_has_a_chinese_name(folder: Path) -> None:
    """Names of trade products and groups of drugs stay as the tables write them; concepts do not."""
    said = "".join(say_condition(one, voice("zh")) for one in conditions(trial(folder).protocol))
    labels = {info.label for info in trial().vocabulary.concepts.values() if info.label.count(" ") > 1}
    assert [label for label in sorted(labels) if label in said] == []


def test_the_questions_a_protocol_asks_are_found() -> None:
    """Read from the text of protocol.yaml, not from its tree."""
    text = (trial().folder / "protocol.yaml").read_text(encoding="utf-8")
    written = {part.split(",")[0].split("}")[0].strip() for part in text.split("attested: ")[1:]}
    assert asked_links(trial().protocol) == frozenset(written)


PAGES = sorted(path.name for path in Path("docs").glob("NCT*.md"))


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_protocol_says(name: str) -> None:
    """Written again with: adapter render --as page --lang en|zh --protocol FOLDER --out docs"""
    study, _, language = name.removesuffix(".md").partition(".")
    found = render_view.rendered(
        trial(Path("mappings/protocols") / study), "page", "zh" if language == "zh" else "en"
    )
    assert Path("docs", name).read_text(encoding="utf-8") == found[name]


def test_a_page_in_each_language_is_there_to_review() -> None:
    assert {"NCT03864250.md", "NCT03864250.zh.md"} <= set(PAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_each_sentence_source_flag_reading_case_and_question(language: Language) -> None:
    protocol = trial().protocol
    page = render_view.page(trial(), language)
    for criterion in protocol.every():
        text = criterion.text if language == "en" else criterion.text_zh
        assert f"# {criterion.id}\n\n> {' '.join(text.split())}" in page
        assert " ".join(criterion.source.split()) in page
        for name in (
            *(rule.name for rule in criterion.flags),
            *(other.name for other in criterion.alternatives),
        ):
            assert f"`{name}`" in page
    known = {criterion.id for criterion in protocol.every()}
    for case in load_cases(trial().folder / "cases.yaml", protocol.questionnaire):
        assert case.name in page or not known & {wanted.target for wanted in case.expected}
    for named in (*protocol.anchors, *protocol.windows, *protocol.readings):
        assert f"`{named.name}`" in page
    questions = render_view.questions_of(protocol.questionnaire, language)
    for link in asked_links(protocol):
        assert " ".join(questions[link].split()).replace("|", "\\|") in page


def test_a_cell_cannot_break_its_table() -> None:
    rows = [line for line in render_view.page(trial(), "en").splitlines() if line.startswith("|")]
    widths, width = set(), 0
    for number, row in enumerate(rows):
        cells = row.replace("\\|", "").count("|") - 1
        width = cells if number + 1 < len(rows) and rows[number + 1].startswith("|---") else width
        widths.add(cells == width)
    assert widths == {True}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_shows_each_visit_and_all_that_is_due(language: Language) -> None:
    protocol = trial().protocol
    page = render_view.page(trial(), language)
    for visit in protocol.visits:
        name = visit.name if language == "en" else visit.name_zh
        assert f"| {visit.id} | {name} | {visit.day} | {visit.first}-{visit.last} |" in page
    for rule in protocol.plan.due:
        what = rule.what if language == "en" else rule.what_zh
        assert f"| {rule.id} | {what} | {rule.day} | {rule.first}-{rule.last} |" in page
    for line in protocol.plan.responses:
        assert all(row.text.replace("|", "\\|") in page for row in outline(line.when, voice(language)))
