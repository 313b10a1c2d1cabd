"""Protocols as data: load them, check them, evaluate them against one subject's facts."""

from adapter.protocol.check import Remark, check
from adapter.protocol.evaluate import evaluate, evaluate_candidate, is_candidate
from adapter.protocol.explain import OpenQuestion, settle
from adapter.protocol.load import load
from adapter.protocol.monitor import monitor

__all__ = [
    "OpenQuestion",
    "Remark",
    "check",
    "evaluate",
    "evaluate_candidate",
    "is_candidate",
    "load",
    "monitor",
    "settle",
]
