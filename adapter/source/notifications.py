"""Reads the messages of FHIR subscriptions, in each of the forms hospitals send.

Three forms: R4 classic rest-hook (an empty POST; or the resource itself, by PUT to ``{endpoint}/{Type}/{id}``
as HAPI does or by POST as Medplum does), and the backport in R4 (a ``history`` Bundle whose first entry is a
Parameters) and R4B (whose first entry is a SubscriptionStatus). R5's ``subscription-notification`` Bundle has
the shape of R4B. Sources: https://hl7.org/fhir/R4/subscription.html,
https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from adapter.errors import SourceUntrustworthy
from adapter.model.notification import Event, Kind, Notification

_BUNDLES = frozenset({"history", "subscription-notification"})
_KINDS: dict[str, Kind] = {
    "handshake": "handshake",
    "heartbeat": "heartbeat",
    "event-notification": "event",
}
_REFERENCE = re.compile(
    r"(?P<reference>[A-Z][A-Za-z]{0,63}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_COUNT = re.compile(r"\d{1,18}")
Json = dict[str, Any]


def read_notification(body: bytes, base_url: str) -> Notification:
    """The message in ``body``; an empty one means "something changed".

    ``base_url`` is the hospital's: references elsewhere are counted, not kept. Raises
    :class:`SourceUntrustworthy` for what is no notification; the caller then has to look for itself.
    """
    if not body.strip():
        return Notification("event", (Event(),))
    try:
        message = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("resourceType"), str):
        raise _not_one("the message is no FHIR resource")
    if message["resourceType"] != "Bundle":
        return _names(message, base_url)
    if message.get("type") not in _BUNDLES:
        raise _not_one("the Bundle is no notification")
    entries = [one for one in _list(message.get("entry")) if isinstance(one, dict)]
    status = entries[0].get("resource") if entries else None
    if not isinstance(status, dict):
        raise _not_one("the first entry holds no status")
    if status.get("resourceType") == "Parameters":
        status = _status_of_parameters(status)
    elif status.get("resourceType") != "SubscriptionStatus":
        raise _not_one("the first entry holds no status")
    return _message(status, entries[1:], base_url)


def read_path(reference: str) -> Notification:
    """A classic notification that names its resource by the address it was sent to."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise _not_one("the address names no resource")
    return Notification("event", (Event(references=(found["reference"],)),))


def is_signed(body: bytes, signature: str, secret: bytes) -> bool:
    """Whether ``signature`` is the HMAC-SHA256 of the body in hex, with or without ``sha256=`` before it.

    Medplum sends it as X-Signature: https://www.medplum.com/docs/subscriptions.
    """
    expected = hmac.new(secret, body, "sha256").hexdigest()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().removeprefix("sha256=").encode())


def _names(resource: Json, base_url: str) -> Notification:
    """The classic form with a payload: the resource that changed."""
    key = resource.get("id")
    reference = _own(f"{resource['resourceType']}/{key}", base_url) if isinstance(key, str) else ""
    return Notification("event", (Event(references=(reference,) if reference else ()),))


def _message(status: Json, entries: list[Json], base_url: str) -> Notification:
    kind = _KINDS.get(str(status.get("type")))
    if kind is None:
        raise _not_one("a type of message that nobody sends by itself")
    foreign = 0
    events: list[Event] = []
    for one in _list(status.get("notificationEvent")):
        if not isinstance(one, dict):
            continue
        named = list(_literals([one.get("focus"), *_list(one.get("additionalContext"))]))
        own = [_own(reference, base_url) for reference in named]
        foreign += own.count("")
        events.append(Event(_count(one.get("eventNumber")) or 0, tuple(dict.fromkeys(filter(None, own)))))
    if kind == "event":
        events = _with_entries(events, entries, base_url)
    return Notification(
        kind,
        tuple(events) if kind == "event" else (),
        _count(status.get("eventsSinceSubscriptionStart")),
        next(_literals([status.get("subscription")]), ""),
        foreign,
    )


def _with_entries(events: list[Event], entries: list[Json], base_url: str) -> list[Event]:
    """Resources that only the entries name belong to the events that name none, or to the last one."""
    named = {reference for event in events for reference in event.references}
    extra = tuple(sorted({own for entry in entries if (own := _entry(entry, base_url))} - named))
    if not events:
        return [Event(references=extra)]
    if not extra:
        return events
    *before, last = events
    return [*before, msgspec.structs.replace(last, references=(*last.references, *extra))]


def _entry(entry: Json, base_url: str) -> str:
    resource, request = entry.get("resource"), entry.get("request")
    if isinstance(resource, dict) and isinstance(resource.get("id"), str):
        return _own(f"{resource.get('resourceType')}/{resource['id']}", base_url)
    for text in (entry.get("fullUrl"), request.get("url") if isinstance(request, dict) else None):
        if isinstance(text, str) and (own := _own(text, base_url)):
            return own
    return ""


def _own(reference: str, base_url: str) -> str:
    """``Type/id`` if it is of the hospital's own server, else ""."""
    base = base_url.rstrip("/") + "/"
    found = _REFERENCE.fullmatch(reference.removeprefix(base))
    return found["reference"] if found else ""


def _literals(references: list[Any]) -> Iterator[str]:
    for one in references:
        if isinstance(one, dict) and isinstance(one.get("reference"), str):
            yield one["reference"]


def _status_of_parameters(parameters: Json) -> Json:
    """The backport's Parameters in the shape of SubscriptionStatus; some servers write names in camelCase."""
    status: Json = {}
    for name, part in _parts(parameters.get("parameter")):
        if name == "notificationEvent":
            inner = list(_parts(part.get("part")))
            event: Json = {key: _value(one) for key, one in inner if key != "additionalContext"}
            event["additionalContext"] = [_value(one) for key, one in inner if key == "additionalContext"]
            status.setdefault(name, []).append(event)
        else:
            status[name] = _value(part)
    return status


def _parts(parts: Any) -> Iterator[tuple[str, Json]]:
    for part in _list(parts):
        if isinstance(part, dict):
            yield _camel(str(part.get("name"))), part


def _value(part: Json) -> Any:
    return next((value for name, value in part.items() if name.startswith("value")), None)


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)


def _count(value: Any) -> int | None:
    """Numbers of events are strings in R4 and R4B (integer64 in R5), numbers in some servers."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return int(text) if _COUNT.fullmatch(text) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _not_one(why: str) -> SourceUntrustworthy:
    return SourceUntrustworthy(why, where="notification", fix="see docs/subscriptions.md for the forms taken")
