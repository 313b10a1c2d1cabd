"""SMART App Launch: a hospital's system opens the page of the patient it has open."""

from adapter.web.launch.routes import router

__all__ = ["router"]
