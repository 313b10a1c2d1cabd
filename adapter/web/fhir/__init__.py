"""A FHIR R4 endpoint: where trial resources live when the hospital's own server takes none, and where whoever
may can read them.

Read, version read, history, search, update with a client-assigned id (If-Match, If-None-Match), create, and
transactions that happen as a whole or not at all; ``$evaluate`` for one patient. See docs/fhir-api.md.
"""

from adapter.web.fhir.routes import last_resort, refused, router, unavailable

__all__ = ["last_resort", "refused", "router", "unavailable"]
