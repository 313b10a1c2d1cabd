"""CDS Hooks: what a physician is told when a chart is opened or an order signed."""

from adapter.web.hooks.routes import router

__all__ = ["router"]
