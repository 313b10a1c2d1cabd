"""Whatever code a user can meet stands in GLOSSARY.md, once, and no code stands there that is gone.

Codes are collected from where they are raised: string literals of the program, flags and roles of the mapping
tables, flags and other readings of the protocols. What only looks like a code is listed here by name.
"""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml

from adapter.mappers.terminology.tables import ROLES
from adapter.model.facts import Use
from adapter.model.terminology import Verification
from adapter.writeback.flag import KINDS
from adapter.writeback.monitoring_flag import MONITORING_KINDS
from adapter.writeback.plan import Outcome

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
CODES = "## Codes"

# Modules whose capitals are the words of a standard or of a hospital, never codes of ours.
OTHER_LANGUAGES = (
    "adapter/demo/",  # the synthetic hospital's local codes, ATC codes, and flags expected of other modules
    "adapter/exports/adam/adsl.py",  # ADaM variables and terms
    "adapter/exports/adam/conformance.py",  # ADaM variables; its rules AD01 to AD14 are in docs/adam.md
    "adapter/exports/adam/methods.py",  # ADaM variables and terms
    "adapter/exports/adam/readings.py",  # ADaM DTYPE
    "adapter/exports/adam/responses.py",  # ADaM DTYPE, parameters and SDTM variables
    "adapter/exports/adam/subject.py",  # flags of the protocol
    "adapter/exports/agreement.py",  # SDTM variables; its rules are those of conformance.py
    "adapter/exports/derive.py",  # SDTM controlled terms: epochs, units of age, ONGOING
    "adapter/exports/journey.py",  # SDTM controlled terms: epochs, dispositions
    "adapter/exports/profile.py",  # SDTM and ADaM variables
    "adapter/exports/results.py",  # SDTM controlled terms: answers, range indicators
    "adapter/exports/spec.py",  # endings of SDTM variable names
    "adapter/exports/study.py",  # SDTM IECAT
    "adapter/exports/trial_design.py",  # SDTM TSPARMCD
    "adapter/exports/used_terms.py",  # SDTM and ADaM variables
    "adapter/exports/value_level.py",  # SDTM and ADaM variables
    "adapter/exports/xpt.py",  # SAS transport records and months
    "adapter/mappers/medications/timing.py",  # FHIR event-timing codes and timing abbreviations
)
# Words that some other module has to write.
OTHER_WORDS = frozenset(
    {
        *("DELETE", "GET", "HEAD", "HTTP", "PATCH", "POST", "PUT"),  # HTTP
        *("ES384", "JWT", "RS384"),  # RFC 7518, 7519
        *("RS256", "RS512", "PS256", "PS384", "PS512", "ES256", "ES512", "EC", "OKP", "RSA"),  # RFC 7518
        *("HEAD", "OPTIONS", "TRACE", "S256"),  # HTTP; PKCE, RFC 7636
        *("INCLUSION", "EXCLUSION", "SDTMIG", "TERM", "TRT"),  # SDTM
        *("DOMAIN", "PARMCD", "STUDYID", "TESTCD", "TSPARMCD", "USUBJID"),  # SDTM variables
        *("DTC", "MIDTC", "PRSTDTC", "RELREC", "SEQ", "STDTC", "SUPP", "VISIT", "VISITNUM"),  # SDTM variables
        *("SDTM", "TITLE"),  # the standard, and TSPARMCD
        "OID",  # ODM
        *("CREATE", "UPDATE"),  # v3-DataOperation, Provenance.activity
        *("LAB", "PAT"),  # v2-0074, Observation.category
        *("BCG", "BCP", "MDRD"),  # methods of albumin and eGFR
        *("H02", "L01", "L04"),  # ATC groups
        *("ADSL", "ADLB", "ADRS", "ADTTE"),  # ADaM datasets
        *("ASEQ", "DTYPE", "PARAMCD", "SRCDOM", "SRCSEQ", "SRCVAR"),  # ADaM variables
        *("E8601DA", "DATE", "YYMMDD", "MMDDYY", "DDMMYY"),  # SAS display formats
        "CHN",  # ISO 3166, the default country
        "NCT03864250",  # the demo's study
        "NFKC",  # Unicode
        *("JAVA_HOME", "PYSPARK_GATEWAY_PORT", "PYSPARK_PYTHON"),  # Spark's environment
        *("PYSPARK_SUBMIT_ARGS", "SPARK_CONF_DIR", "SPARK_REMOTE", "WARN"),
    }
)
ENVIRONMENT = "ADAPTER_"
# Made at run time: exports/selection.py writes the presence of an event in capitals.
COMPUTED = frozenset({"REFUTED"})

_WHOLE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
# Within an f-string: "LB NO_RESULT", "INVALID: ...".
_WITHIN = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|^[A-Z]{3,}(?=:)")
_ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def literals(source: str) -> Iterator[str]:
    """Literals that are a code as a whole (three letters or more), and codes within f-strings."""
    for node in ast.walk(ast.parse(source)):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        for part in parts:
            if not isinstance(part, ast.Constant) or not isinstance(part.value, str):
                continue
            if _WHOLE.fullmatch(part.value) and len(part.value) > 2:
                yield part.value
            elif isinstance(node, ast.JoinedStr):
                yield from _WITHIN.findall(part.value)


def in_program() -> set[str]:
    found: set[str] = set()
    for path in sorted((ROOT / "adapter").rglob("*.py")):
        if not path.relative_to(ROOT).as_posix().startswith(OTHER_LANGUAGES):
            found |= set(literals(path.read_text(encoding="utf-8")))
    return {code for code in found - OTHER_WORDS if not code.startswith(ENVIRONMENT)}


def in_tables() -> set[str]:
    """Columns ``flag`` and ``role`` of the mapping tables; readings a dataset treats by their exclusion."""
    found: set[str] = set()
    for path in (ROOT / "mappings").rglob("*.csv"):
        with path.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                for column in ("flag", "role"):
                    found |= set((row.get(column) or "").split(";"))
    for path in (ROOT / "mappings" / "sdtm").glob("*.yaml"):
        found |= set(under("excluded", yaml.safe_load(path.read_text(encoding="utf-8"))))
    return found - {""}


def in_protocols() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "mappings" / "protocols").glob("*/protocol.yaml"):
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        for rules in (written["criteria"], written.get("monitoring", {})):
            for key in ("flags", "flag", "alternatives"):
                found |= set(under(key, rules))
        anywhere = yaml.safe_load(path.read_text(encoding="utf-8")).get("readings", {})
        found |= set(under("flag", anywhere))
    for path in (ROOT / "mappings" / "protocols").glob("*/ladders.yaml"):
        ladders = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key in ("flags", "flag", "alternatives", "alerts", "missing", "late_flag", "or_entry"):
            found |= set(under(key, ladders))
    return found


def under(key: str, node: Any) -> Iterator[str]:
    """The names that stand under a key anywhere: a text, a list of texts, keys, or ``name`` of entries."""
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == key:
                yield from names(inner)
            yield from under(key, inner)
    elif isinstance(node, list):
        for inner in node:
            yield from under(key, inner)


def names(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for one in node:
            yield from names(one["name"] if isinstance(one, dict) else one)
    elif isinstance(node, dict):
        yield from node


def raised() -> set[str]:
    words = {*get_args(Use), *get_args(Verification), *ROLES, *get_args(Outcome), *KINDS, *MONITORING_KINDS}
    return in_program() | in_tables() | in_protocols() | words | COMPUTED


def tables() -> list[list[str]]:
    """The codes of each table of the second part, in the order they stand there."""
    _, _, part = PAGE.partition(f"\n{CODES}\n")
    return [_ROW.findall(table) for table in part.split("|---|")[1:]]


LISTED = [code for table in tables() for code in table]


def test_every_code_is_explained() -> None:
    assert sorted(raised() - set(LISTED)) == [], "raised, but not in GLOSSARY.md"


def test_no_code_is_explained_that_is_gone() -> None:
    assert sorted(set(LISTED) - raised()) == [], "in GLOSSARY.md, but nothing raises it"


def test_each_code_has_one_place_and_tables_are_in_order() -> None:
    assert [code for code, times in Counter(LISTED).items() if times > 1] == []
    for table in tables():
        assert table == sorted(table)


def test_every_row_is_whole() -> None:
    """As many cells as its header, none of them empty but "also"."""
    _, _, part = PAGE.partition(f"\n{CODES}\n")
    width = 0
    for line in part.splitlines():
        if not line.startswith("|"):
            width = 0
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        width = width or len(cells)
        assert len(cells) == width, line
        assert all(cells), line


def test_every_place_named_is_there() -> None:
    places = re.findall(r"`((?:adapter|docs|fhir_profiles|mappings|tests)/[^`\s<]*)`", PAGE)
    assert [place for place in places if not (ROOT / place).exists()] == []
    assert len(places) > 30


def test_the_collector_sees_the_ways_in_which_codes_are_written() -> None:
    source = 'a = "UNIT_MISSING"\nb = f"{x} NO_RESULT"\nc = f"INVALID: {y}"\n"""Words with CODE_LIKE text."""'
    assert set(literals(source)) == {"UNIT_MISSING", "NO_RESULT", "INVALID"}
    rules = {"flag": [{"name": "A_B", "when": {}}], "x": [{"flags": ["C"], "not_during": {"flag": "D_E"}}]}
    assert sorted([*under("flag", rules), *under("flags", rules)]) == ["A_B", "C", "D_E"]
