"""Resources in, facts out: one mapper per resource type, and what settles versions, merges and units.

``map_resources`` reads twice. The first pass collects what others refer to (Patient, Medication,
Specimen); the second maps each resource by the table ``MAPPERS``. Then versions, duplicates and conflicts
are settled, values are derived, and everything is sorted, so that the order of arrival never shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from adapter.mappers.context import Mapper

MAPPERS: Mapping[str, Mapper] = MappingProxyType(
    {
        # "Condition": Mapper(Condition, map_condition),
    }
)
