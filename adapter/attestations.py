"""Answers that people gave here: kept as QuestionnaireResponses on the adapter's own FHIR endpoint.

The next screening reads them beside what the hospital sent, by the same mapper, so that an answer given on
our page and one that came from the hospital's form weigh the same. A response is never changed: a newer
answer is another response, and of several the latest day decides (docs/INTERPRETATIONS.md).
Source: https://hl7.org/fhir/R4/questionnaireresponse.html.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine

from adapter.model.facts import Source
from adapter.model.resource import OWN_ANSWER, RawResource
from adapter.store import audit
from adapter.store.audit import Entry
from adapter.store.database import open_database
from adapter.store.resources import ResourceStore
from adapter.trial import Workspace

KIND = "QuestionnaireResponse"
Json = dict[str, Any]


def response(
    questionnaire: str,
    subject: str,
    items: Iterable[Mapping[str, Any]],
    *,
    authored: str,
    author: str,
) -> Json:
    """A completed response about Patient ``subject``; ``authored`` is the day (or instant) on which the
    answers were given, ``author`` the account of the person who gave them."""
    return {
        "resourceType": KIND,
        "id": f"{OWN_ANSWER}{uuid.uuid4()}",
        "questionnaire": questionnaire,
        "status": "completed",
        "subject": {"reference": f"Patient/{subject}"},
        "authored": authored,
        "author": {"type": "Practitioner", "display": author},
        "item": [dict(one) for one in items],
    }


def record(engine: Engine, resource: Json, who: str, now: datetime) -> Json:
    """Keep a response, and say in the audit who gave it, in one transaction; returns it as stored.

    The audit names the response and the questions answered, not the answers.
    """
    store = ResourceStore(engine)
    reference = resource["subject"]["reference"]
    keys = {
        "subject": {reference},
        "patient": {reference},
        "status": {resource["status"]},
        "questionnaire": {resource["questionnaire"]},
        "identifier": set[str](),
    }
    with store.transaction() as shelf:
        stored = shelf.write(resource, keys, now, only_new=True)
        detail = {
            "questionnaire": resource["questionnaire"],
            "items": [one["linkId"] for one in resource["item"]],
        }
        what = (f"{KIND}/{stored['id']}/_history/{stored['meta']['versionId']}", reference)
        audit.append(shelf.connection, Entry(now, who, "attest", what, detail))
    return stored


def given(engine: Engine, subject: str = "") -> tuple[Json, ...]:
    """Responses kept here, about one Patient.id or everybody, by id."""
    wanted = {"subject": {f"Patient/{subject}"}} if subject else {}
    with ResourceStore(engine).view() as shelf:
        return tuple(shelf.search(KIND, wanted))


def own_answers(workspace: Workspace, questionnaire: str) -> tuple[RawResource, ...]:
    """What was answered here to this questionnaire, as a screening reads it; nothing where no database is."""
    if isinstance(workspace.database, Path) and not workspace.database.exists():
        return ()
    engine = open_database(workspace.database)
    try:
        found = given(engine)
    finally:
        engine.dispose()
    return tuple(
        RawResource(msgspec.json.encode(one, order="deterministic"), f"own endpoint:{number}", KIND)
        for number, one in enumerate(found, 1)
        if str(one.get("questionnaire", "")).partition("|")[0] == questionnaire
    )


def is_own_answer(reference: str) -> bool:
    """Whether a reference is to an answer given on a page here, not to a record of the hospital."""
    return reference.startswith(f"{KIND}/{OWN_ANSWER}")


def origin(workspace: Workspace, source: Source) -> str:
    """Who gave an answer and when, in words; and whether it is still the one that was read."""
    if not isinstance(workspace.database, Path) or workspace.database.exists():
        engine = open_database(workspace.database)
        try:
            found = [one for one in given(engine) if f"{KIND}/{one['id']}" == source.reference]
        finally:
            engine.dispose()
        for one in found:
            who, about = one["author"]["display"], f"answered for {one['authored']}"
            kept = f"kept {one['meta']['lastUpdated']}"
            same = hashlib.sha256(msgspec.json.encode(one, order="deterministic")).hexdigest()
            state = "" if same == source.sha256 else "; it is another than was read"
            return f"attested on a page here by {who}, {about}, {kept}, SHA-256 {source.sha256}{state}"
    return f"attested on a page here; not in this workspace's database, SHA-256 {source.sha256}"


def about(resource: RawResource) -> str:
    """The Patient.id that a kept response is about."""
    reference = msgspec.json.decode(resource.line)["subject"]["reference"]
    return str(reference).rpartition("/")[2]


def sha256_of(resources: Iterable[RawResource]) -> str:
    """One hash of all of them, in their order."""
    digest = hashlib.sha256()
    for one in resources:
        digest.update(f"{one.sha256}\n".encode())
    return digest.hexdigest()
