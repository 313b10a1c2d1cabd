"""What hospitals send when something changed, form by form, and what we take from it."""

from __future__ import annotations

import json

import pytest

from adapter.errors import SourceUntrustworthy
from adapter.model.notification import Event, Notification
from adapter.source.notifications import is_signed, read_notification, read_path

BASE = "https://fhir.hospital.example/r4"
SUBSCRIPTION = {"name": "subscription", "valueReference": {"reference": f"{BASE}/Subscription/admission"}}


def r4_backport(kind: str, since: str, *events: dict, entries: tuple[dict, ...] = ()) -> bytes:
    """As printed in the backport IG 1.1, R4 example: Parameters, numbers as strings."""
    status = {
        "resourceType": "Parameters",
        "parameter": [
            SUBSCRIPTION,
            {"name": "status", "valueCode": "active"},
            {"name": "type", "valueCode": kind},
            {"name": "events-since-subscription-start", "valueString": since},
            *({"name": "notification-event", "part": parts} for parts in events),
        ],
    }
    bundle = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}, *entries]}
    return json.dumps(bundle).encode()


def r4_event(number: str, focus: str = "", context: str = "") -> list[dict]:
    parts = [{"name": "event-number", "valueString": number}]
    if focus:
        parts.append({"name": "focus", "valueReference": {"reference": focus}})
    if context:
        parts.append({"name": "additional-context", "valueReference": {"reference": context}})
    return parts


def r4b_backport(kind: str, since: object, *events: dict, bundle: str = "history") -> bytes:
    status = {
        "resourceType": "SubscriptionStatus",
        "status": "active",
        "type": kind,
        "eventsSinceSubscriptionStart": since,
        "subscription": {"reference": "Subscription/7"},
        "notificationEvent": list(events),
    }
    return json.dumps({"resourceType": "Bundle", "type": bundle, "entry": [{"resource": status}]}).encode()


def event(number: object, focus: str) -> dict:
    return {"eventNumber": number, "focus": {"reference": focus}}


GONE = {"fullUrl": f"{BASE}/Condition/gone", "request": {"method": "DELETE", "url": "Condition/gone"}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", Notification("event", (Event(),)), id="R4 classic, no payload: something changed"),
        pytest.param(
            b'{"resourceType": "Observation", "id": "albumin-3", "valueQuantity": {"value": 2.1}}',
            Notification("event", (Event(references=("Observation/albumin-3",)),)),
            id="classic with the resource, as Medplum posts it: its name, never its content",
        ),
        pytest.param(
            r4_backport("handshake", "0"),
            Notification("handshake", (), 0, f"{BASE}/Subscription/admission"),
            id="R4 backport, handshake",
        ),
        pytest.param(
            r4_backport("heartbeat", "17"),
            Notification("heartbeat", (), 17, f"{BASE}/Subscription/admission"),
            id="R4 backport, heartbeat",
        ),
        pytest.param(
            r4_backport("event-notification", "2", r4_event("2")),
            Notification("event", (Event(2),), 2, f"{BASE}/Subscription/admission"),
            id="R4 backport, empty",
        ),
        pytest.param(
            r4_backport("event-notification", "2", r4_event("2", f"{BASE}/Observation/a", "Patient/p")),
            Notification(
                "event", (Event(2, ("Observation/a", "Patient/p")),), 2, f"{BASE}/Subscription/admission"
            ),
            id="R4 backport, ids only, absolute and relative",
        ),
        pytest.param(
            r4_backport(
                "event-notification",
                "3",
                r4_event("3", "Encounter/e"),
                entries=(
                    {"fullUrl": f"{BASE}/Encounter/e", "resource": {"resourceType": "Encounter", "id": "e"}},
                    {"fullUrl": f"{BASE}/Patient/p", "resource": {"resourceType": "Patient", "id": "p"}},
                    GONE,
                ),
            ),
            Notification(
                "event",
                (Event(3, ("Encounter/e", "Condition/gone", "Patient/p")),),
                3,
                f"{BASE}/Subscription/admission",
            ),
            id="R4 backport, full resources and a deletion",
        ),
        pytest.param(
            r4b_backport("event-notification", "11", event("11", "Observation/a/_history/4")),
            Notification("event", (Event(11, ("Observation/a",)),), 11, "Subscription/7"),
            id="R4B backport, ids with a version",
        ),
        pytest.param(
            r4b_backport(
                "event-notification",
                12,
                event(11, "Observation/a"),
                event(12, "Observation/b"),
                bundle="subscription-notification",
            ),
            Notification(
                "event",
                (Event(11, ("Observation/a",)), Event(12, ("Observation/b",))),
                12,
                "Subscription/7",
            ),
            id="R5, two events in one message, numbers as numbers",
        ),
        pytest.param(
            r4b_backport("event-notification", "5", event("5", "https://elsewhere.example/Patient/p")),
            Notification("event", (Event(5),), 5, "Subscription/7", foreign=1),
            id="a reference to another server is counted and not kept",
        ),
        pytest.param(
            r4b_backport("event-notification", "5", event("5", f"{BASE}.evil.example/Patient/p")),
            Notification("event", (Event(5),), 5, "Subscription/7", foreign=1),
            id="nor one whose address only begins like ours",
        ),
        pytest.param(
            r4b_backport("event-notification", "5", event("5", "Patient/../../admin")),
            Notification("event", (Event(5),), 5, "Subscription/7", foreign=1),
            id="nor one that is no id",
        ),
        pytest.param(
            r4b_backport("event-notification", "many", event("-3", "Patient/p")),
            Notification("event", (Event(0, ("Patient/p",)),), None, "Subscription/7"),
            id="numbers that are none count nothing",
        ),
    ],
)
def test_each_form_is_read(body: bytes, expected: Notification) -> None:
    assert read_notification(body, BASE) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"<Bundle/>",
        b"[]",
        b'{"resourceType": 7}',
        b'{"resourceType": "Bundle", "type": "searchset"}',
        b'{"resourceType": "Bundle", "type": "history"}',
        b'{"resourceType": "Bundle", "type": "history", "entry": [{"resource": {"id": "p"}}]}',
        b'{"resourceType": "Bundle", "type": "history", "entry": [7]}',
        r4b_backport("query-status", "3"),
        b"[" * 100_000,
        b'{"resourceType": "\xff"}',
    ],
)
def test_what_is_no_notification_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(SourceUntrustworthy):
        read_notification(body, BASE)


def test_the_address_of_a_classic_put_names_the_resource() -> None:
    assert read_path("Observation/x").events == (Event(references=("Observation/x",)),)
    for other in ("Observation", "observation/x", "Observation/x/y", "Observation/a b"):
        with pytest.raises(SourceUntrustworthy):
            read_path(other)


def test_the_signature_is_the_one_of_rfc_4231() -> None:
    """Test case 2 of RFC 4231: key "Jefe", data "what do ya want for nothing?"."""
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    body = b"what do ya want for nothing?"
    assert is_signed(body, digest, b"Jefe")
    assert is_signed(body, f"sha256={digest.upper()}", b"Jefe")
    assert not is_signed(body + b" ", digest, b"Jefe")
    assert not is_signed(body, "", b"Jefe")
    assert not is_signed(body, "é" * 64, b"Jefe")
