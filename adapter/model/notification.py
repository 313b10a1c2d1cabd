"""What a hospital's subscription told us: that something changed, never what it is now.

A notification names resources to read again. Whatever it carries besides is not landed: the version, the
evidence and the proof of where it came from are those of a read with our own token.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["handshake", "heartbeat", "event"]


class Event(msgspec.Struct, frozen=True):
    """One event: its number since the subscription started (0 if the server does not count) and the
    resources it names as ``Type/id``; none named means "something of this subscription"."""

    number: int = 0
    references: tuple[str, ...] = ()


class Notification(msgspec.Struct, frozen=True):
    """One message of a subscription.

    ``since_start`` is eventsSinceSubscriptionStart as of this message, None if not said; ``foreign`` counts
    references that are not the hospital's own and were not kept.
    """

    kind: Kind
    events: tuple[Event, ...] = ()
    since_start: int | None = None
    subscription: str = ""
    foreign: int = 0
