"""Following the people on the study: what the protocol says of each as of a day, by arm, and whom to tell.

Reads the facts that a screening left, so no record is fetched or mapped twice. Leaves its rows under
``monitoring/``, whole or not at all; the same facts and day leave the same bytes, however many processes
shared the work and whether a row was worked out now or stood already.
"""

from adapter.monitoring.flags import protocol_lines, write_back
from adapter.monitoring.kept import MonitoringReport, is_kept, read_monitoring
from adapter.monitoring.run import Done, Told, monitor

__all__ = [
    "Done",
    "MonitoringReport",
    "Told",
    "is_kept",
    "monitor",
    "protocol_lines",
    "read_monitoring",
    "write_back",
]
