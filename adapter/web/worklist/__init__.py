"""The pages people work with: worklist, patient page, study page. What they show is read by
:mod:`adapter.worklist`; here are addresses, forms and who may see what."""

from __future__ import annotations

from adapter.web.worklist.counter import Counter
from adapter.web.worklist.routes import router
from adapter.web.worklist.runs import Runs

__all__ = ["Counter", "Runs", "router"]
