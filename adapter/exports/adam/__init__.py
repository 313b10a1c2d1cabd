"""ADaM datasets (ADaMIG 1.3) out of SDTM datasets and the monitoring of everyone on the study.

Values come from SDTM rows, verdicts and responses from :class:`adapter.model.monitoring.Monitoring`, windows
and thresholds from the protocol: nothing is judged here a second time.
"""
