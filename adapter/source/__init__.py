"""Reads hospitals: the only room that knows hospital files and hospital HTTP.

What arrives is landed raw with its coverage (:mod:`~adapter.source.landing`); candidates are nominated and
other patients' lines dropped before anything is parsed (:mod:`~adapter.source.nominate`,
:mod:`~adapter.source.sieve`). Places kept for later: ``bulk.py`` (``$export``), ``auth.py`` (SMART Backend
Services, beside :mod:`~adapter.source.token`), ``sync.py`` (incremental), ``dialects.py`` (server quirks).
"""
