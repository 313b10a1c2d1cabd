"""What whoever keeps the adapter running needs: is it ready, how does it stand, how fast does it answer."""

from __future__ import annotations

from adapter.web.operations.requests import Requests
from adapter.web.operations.routes import router
from adapter.web.operations.standing import Watch

__all__ = ["Requests", "Watch", "router"]
