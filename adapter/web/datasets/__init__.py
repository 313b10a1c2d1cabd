"""The packages of this study at this site, for a data manager who looks before pulling."""

from adapter.web.datasets.routes import router

__all__ = ["router"]
