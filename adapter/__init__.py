"""Connects hospital FHIR servers to clinical trials.

The data's way through the package::

    source -> mappers -> protocol -> writeback
                    \\-> exports <-/

``source`` lands raw FHIR with its coverage, ``mappers`` turns resources into four fact tables,
``protocol`` turns facts into decisions with evidence, ``writeback`` tells the hospital and
``exports`` tells the sponsor. ``pipeline`` is the one page that joins these rooms.
"""

__version__ = "0.1.0"
