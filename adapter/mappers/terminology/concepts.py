"""Reading ``concepts.yaml``: what a fact can be about, validated field by field."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast, get_args

from adapter.errors import MappingError
from adapter.mappers.terminology.files import Node, YamlFile, exact_number, read_yaml
from adapter.model.terminology import AS_REPORTED, Bounds, Concept, ConceptClass, Cutoff, Silence

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_CONCEPT_FIELDS = {
    "class", "label", "unit", "hard", "soft", "exempt_lower_bound", "shape", "specimen", "by_unit", "derive",
    "duration_h", "default_cutoff", "silence", "broader", "verified_by", "notes",
}  # fmt: skip


def read_concepts(root: Path) -> dict[str, Concept]:
    file = read_yaml(root / "concepts.yaml", root)
    content = file.content if isinstance(file.content, dict) else {}
    entries, defaults = content.get("concepts"), content.get("defaults")
    if not isinstance(entries, dict):
        raise MappingError("there is no 'concepts' mapping", where=f"{file.name}:1", fix="add it")
    verified_by = str(defaults.get("verified_by") or "") if isinstance(defaults, dict) else ""
    concepts = {key: _concept(_Entry(key, value, file), verified_by) for key, value in entries.items()}
    for concept in concepts.values():
        for other in (*concept.broader, *((concept.by_unit,) if concept.by_unit else ())):
            if other not in concepts:
                raise MappingError(
                    f"{concept.key} refers to unknown concept {other}",
                    where=concept.where,
                    fix="add it to concepts.yaml or correct the spelling",
                )
    return concepts


class _Entry:
    """One concept as written, read field by field; what is wrong is told with the line of the field."""

    def __init__(self, key: str, value: Node, file: YamlFile) -> None:
        self.key = key
        self.file = file
        if not isinstance(value, dict):
            raise self.wrong("is not a mapping", "indent its fields below it")
        self.fields = value

    def wrong(self, message: str, fix: str, *field: str) -> MappingError:
        where = self.file.where("concepts", self.key, *field)
        return MappingError(f"{self.key}: {message}", where=where, fix=fix)

    def word(self, field: str, allowed: tuple[str, ...] = (), default: str = "") -> str:
        text = self.fields.get(field) or default
        if not isinstance(text, str) or (allowed and text not in allowed):
            raise self.wrong(f"{field} is {text!r}", f"write {' or '.join(allowed) or 'a text'}", field)
        return text

    def words(self, field: str) -> tuple[str, ...]:
        items = self.fields.get(field) or []
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise self.wrong(f"{field} is not a list", f"write {field}: [one, two]", field)
        return tuple(str(item) for item in items)

    def bounds(self, field: str) -> Bounds | None:
        pair = self.words(field)
        if not pair:
            return None
        low, high = (exact_number(pair[0]), exact_number(pair[1])) if len(pair) == 2 else (None, None)
        if low is None or high is None or low > high:
            raise self.wrong(f"{field} is {list(pair)}", 'write ["low", "high"] as plain decimals', field)
        return Bounds(low, high)

    def label(self) -> tuple[str, str]:
        label = self.fields.get("label")
        if not isinstance(label, dict) or not label.get("en") or not label.get("zh"):
            raise self.wrong("needs a label in en and zh", 'write label: {en: "...", zh: "..."}', "label")
        return str(label["en"]), str(label["zh"])

    def cutoff(self) -> Cutoff:
        node = self.fields.get("default_cutoff")
        return tuple(
            (key, tuple(str(item) for item in value) if isinstance(value, list) else str(value))
            for key, value in (node.items() if isinstance(node, dict) else ())
        )


def _concept(entry: _Entry, verified_by: str) -> Concept:
    if not _KEY.fullmatch(entry.key):
        raise entry.wrong("is not a concept key", "use lower case, digits and _")
    for field in entry.fields:
        if field not in _CONCEPT_FIELDS:
            raise entry.wrong(f"unknown field {field}", f"known: {', '.join(sorted(_CONCEPT_FIELDS))}", field)
    kind = entry.word("class", get_args(ConceptClass))
    unit = entry.word("unit")
    if (kind == "finding") != bool(unit):
        raise entry.wrong(
            "a finding has a unit and nothing else has one", f"give a UCUM unit or {AS_REPORTED}", "unit"
        )
    silence = entry.word("silence", get_args(Silence))
    if kind == "finding" and silence != "unknown":
        raise entry.wrong("a finding that was not measured is unknown", "write silence: unknown", "silence")
    english, chinese = entry.label()
    return Concept(
        key=entry.key,
        kind=cast(ConceptClass, kind),
        label_en=english,
        label_zh=chinese,
        silence=cast(Silence, silence),
        verified_by=entry.word("verified_by", default=verified_by),
        where=entry.file.where("concepts", entry.key),
        unit=unit,
        hard=entry.bounds("hard"),
        soft=entry.bounds("soft"),
        exempt_lower_bound=entry.words("exempt_lower_bound"),
        shape=entry.word("shape"),
        specimens=entry.words("specimen"),
        by_unit=entry.word("by_unit"),
        derive=entry.words("derive"),
        duration_h=entry.bounds("duration_h"),
        default_cutoff=entry.cutoff(),
        broader=entry.words("broader"),
        notes=entry.word("notes"),
    )
