"""Screening on a Spark cluster: the same bytes through the same functions, so the same verdicts.

Nothing here knows medicine or decides anything. ``ranges`` cuts files into pieces that tasks read by
themselves, ``tasks`` is what runs on the executors, ``passes`` are the jobs, ``engine`` puts them in order,
``session`` finds Spark. PySpark is an extra (``pip install trial-fhir-adapter[spark]``) and imported only
when a session is opened: without it, and without Java, everything else works. See docs/cluster.md.
"""
