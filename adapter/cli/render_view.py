"""``adapter render``: one protocol folder as a page, a JSON Schema or FHIR resources; names for authors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from adapter import config
from adapter.explaining import voice_of
from adapter.pipeline import Trial
from adapter.protocol.case_file import load_cases
from adapter.protocol.render.fhir import render_fhir
from adapter.protocol.render.names import render_names
from adapter.protocol.render.page import render_page
from adapter.protocol.render.schema import json_schema
from adapter.protocol.render.voice import Language

Form = Literal["page", "json-schema", "fhir", "names"]


def rendered(trial: Trial, form: Form, language: Language) -> dict[str, str]:
    """File name -> text, for one form."""
    match form:
        case "page":
            return {page_name(trial.protocol.id, language): page(trial, language)}
        case "json-schema":
            return {"protocol.schema.json": as_json(json_schema())}
        case "names":
            names = voice_of(trial, "zh").names
            return {"protocol-names.md": render_names(trial.vocabulary, names)}
        case "fhir":
            questions = questions_of(trial.protocol.questionnaire, language)
            found = render_fhir(trial.protocol, voice_of(trial, language), questions)
            return {name: as_json(resource) for name, resource in found.items()}


def as_json(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False, indent=1) + "\n"


def page_name(protocol: str, language: Language) -> str:
    return f"{protocol}.md" if language == "en" else f"{protocol}.{language}.md"


def page(trial: Trial, language: Language) -> str:
    """The Markdown page with the worked cases beside the rules; a protocol without cases gets none."""
    path = trial.folder / "cases.yaml"
    cases = load_cases(path, trial.protocol.questionnaire) if path.exists() else ()
    questions = questions_of(trial.protocol.questionnaire, language)
    return render_page(trial.protocol, cases, voice_of(trial, language), questions)


def questionnaire_of(canonical: str) -> Mapping[str, Any] | None:
    """The shipped Questionnaire with this canonical URL, if there is one."""
    name = canonical.split("|")[0].rsplit("/", 1)[-1]
    path = config.product_folder("fhir_profiles") / f"Questionnaire-{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if name and path.exists() else None


def questions_of(canonical: str, language: Language) -> dict[str, str]:
    """linkId -> text of the question, in Chinese where the Questionnaire has a translation."""
    found = questionnaire_of(canonical)
    return {item["linkId"]: _text(item, language) for item in found["item"]} if found else {}


def _text(item: Mapping[str, Any], language: Language) -> str:
    for extension in item.get("_text", {}).get("extension", ()) if language == "zh" else ():
        parts = {part["url"]: part for part in extension.get("extension", ())}
        if parts.get("lang", {}).get("valueCode", "").startswith(language):
            return str(parts["content"]["valueString"])
    return str(item.get("text", ""))


def write(text: str, out: Path | None, name: str) -> str:
    """Leave the text in ``out`` under a name, or give it back to be printed."""
    if out is None:
        return text
    out.mkdir(parents=True, exist_ok=True)
    (out / name).write_text(text, encoding="utf-8")
    return str(out / name)
