"""Where sponsors' programs pull snapshots: what there is, its files, what changed since the last pull."""

from adapter.web.sponsor.routes import Folders, router

__all__ = ["Folders", "router"]
