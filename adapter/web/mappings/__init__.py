"""The mapping page: what is unknown, what a row would change, who approved what, and the way back.

It shows codes, units and counts. Who the people are is for the worklist: a sponsor may see this page.
"""

from __future__ import annotations

from adapter.web.mappings.routes import router
from adapter.web.mappings.workbench import Workbench

__all__ = ["Workbench", "router"]
