"""Reasons in Chinese: every phrase of the engine and every text of the protocol has its words, the verdict
stays the same, and what is kept stays English."""

from __future__ import annotations

import ast
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from adapter import pipeline
from adapter.errors import MappingError
from adapter.explaining import Teller, facts_of, teller
from adapter.model.decision import CriterionResult, Decision
from adapter.model.facts import Facts
from adapter.model.monitoring import Monitoring
from adapter.monitoring import read_monitoring
from adapter.protocol import saying
from adapter.protocol.render.sayings_zh import SAYINGS
from adapter.protocol.saying import say, sayings, speaking, spoken
from tests.worklist_case import trial, ward

ENGINE = Path(saying.__file__).parent
# Where the phrase is put together of parts: every phrase that can come of it.
PUT_TOGETHER = {
    "does not fit ({row.presence})": [
        f"does not fit ({one})" for one in ("present", "past", "unconfirmed", "refuted")
    ],
    "drug of {by} {{name}}": ["drug of role {name}", "drug of class {name}"],
    "{test.direction} of {{size}}": ["fall of {size}", "rise of {size}"],
    "longest gap {{value}} {unit}": ["longest gap {value} day", "longest gap {value} days"],
    "not the {test.selection.take}": [
        f"not the {take}" for take in ("latest", "earliest", "highest", "lowest", "nearest", "any", "every")
    ],
}
# Codes and names that are the same in any language.
SAME = re.compile(
    r"“[^”]*”|\([a-z]+: [A-Z_, ]+\)|\{\w+\}"
    r"|(?<![a-z])(mmol|umol|nmol|upper_limit|lower_limit|Observation)(?![a-z])"
)


def phrases() -> Iterator[str]:
    """What the engine asks ``say`` for, from its source."""
    for path in ENGINE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                yield from _phrases(node.args[0])


def _phrases(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield str(node.value)
    elif isinstance(node, ast.JoinedStr):
        yield from PUT_TOGETHER[ast.unparse(node)[2:-1]]
    elif isinstance(node, ast.IfExp):
        yield from _phrases(node.body)
        yield from _phrases(node.orelse)


def blanks(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_phrase_of_the_engine_has_chinese_words_with_the_same_blanks() -> None:
    asked = set(phrases())
    assert len(asked) > 60
    assert asked - SAYINGS.keys() == set()
    assert [one for one in SAYINGS if blanks(one) != blanks(SAYINGS[one])] == []


def test_every_text_of_the_protocol_has_chinese_words_and_no_others_are_there() -> None:
    protocol = trial().protocol
    rules = [rule for one in protocol.every() for rule in (one, *one.alternatives)]
    texts = {line.because for rule in rules for line in rule.lines} | {""}
    texts |= {line.because for line in protocol.plan.responses}
    texts |= {other.reading for one in protocol.every() for other in one.alternatives}
    texts |= {one.settles for one in protocol.every()}
    written = yaml.safe_load((trial().folder / "sayings.zh.yaml").read_text(encoding="utf-8"))
    assert set(written) == texts - {""}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Decision, Monitoring | None, Facts]]:
    workspace = ward(tmp_path_factory.mktemp("sayings"))
    screening, report = pipeline.read_screening(workspace), read_monitoring(workspace)
    assert report is not None
    followed = {one.subject: one for one in report.rows}
    return [(one, followed.get(one.subject), facts_of(screening, one.subject)) for one in screening.decisions]


def _said(results: tuple[CriterionResult, ...]) -> Iterator[str]:
    for top in results:
        for one in top.walk():
            yield from (one.reason, one.distance, *one.settles)
            yield from (other.reading for other in one.alternatives)


def test_everybody_is_told_in_chinese_what_was_judged(
    people: list[tuple[Decision, Monitoring | None, Facts]],
) -> None:
    """The same verdicts on the same evidence (the fingerprint), and no English words in what is said."""
    tells: Teller = teller(trial(), "zh")
    english: set[str] = set()
    for kept, watched, facts in people:
        told = tells.decision(kept, facts)
        assert told is not kept, kept.subject
        assert told.fingerprint == kept.fingerprint
        said = list(_said(told.criteria))
        if watched is not None:
            course = tells.monitoring(watched, facts)
            assert course is not None
            assert course is not watched, kept.subject
            said += _said((*course.endpoints, *course.exits, *course.doses, *course.safety))
            said += [visit.reason for visit in course.visits]
        english |= {text for text in said if re.search(r"[a-z]{4,}", SAME.sub("", text))}
    assert english == set()


def test_in_english_and_afterwards_it_is_what_is_kept(
    people: list[tuple[Decision, Monitoring | None, Facts]],
) -> None:
    for kept, _, facts in people[:10]:
        assert teller(trial(), "en").decision(kept, facts) is kept
        teller(trial(), "zh").decision(kept, facts)
        again = pipeline.protocol.evaluate(trial().protocol, facts, as_of=kept.as_of, zone=trial().site.zone)
        assert again == kept


def test_another_state_of_the_facts_is_not_told(
    people: list[tuple[Decision, Monitoring | None, Facts]],
) -> None:
    """What is kept was judged on other facts: then its own English is shown, never another verdict."""
    kept, _, facts = next(one for one in people if one[0].overall.value == "eligible")
    assert teller(trial(), "zh").decision(kept, msgspec.structs.replace(facts, findings=())) is kept


def test_a_language_is_spoken_in_one_thread_alone() -> None:
    heard: list[str] = []
    with speaking(SAYINGS):
        other = threading.Thread(target=lambda: heard.append(say("the date of birth")))
        other.start()
        other.join()
        heard.append(say("the date of birth"))
    assert [*heard, say("the date of birth")] == ["the date of birth", "出生日期", "the date of birth"]


def test_what_has_no_words_stays_english_and_what_is_data_is_not_filled_in() -> None:
    with speaking(SAYINGS):
        assert spoken("40 {RU}/mL") == "40 {RU}/mL"
        assert say("a phrase of tomorrow, {what}", what="x") == "a phrase of tomorrow, x"


@pytest.mark.parametrize("content", ["- a\n- b\n", "a: 1\n", "a: [\n"])
def test_a_file_that_is_no_table_of_words_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "sayings.zh.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(MappingError, match=r"sayings\.zh\.yaml"):
        sayings("zh", tmp_path)
