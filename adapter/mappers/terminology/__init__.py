"""The tables of ``mappings/`` and of one site, validated, and the lookups over them."""

from adapter.mappers.terminology.lookups import Terminology

__all__ = ["Terminology"]
