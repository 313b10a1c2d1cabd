"""Reads hospitals: the only room that knows hospital files and hospital HTTP.

Three ways in: :mod:`~adapter.source.crawl` searches, :mod:`~adapter.source.bulk` exports, and
:func:`~adapter.source.landing.land_folder` takes a folder as it is; :mod:`~adapter.source.sync` brings what
is here up to date, and :mod:`~adapter.source.notifications` reads what subscriptions tell. Each leaves a
:mod:`~adapter.source.landing`: raw bytes with an account of what was asked and what is missing. From there
candidates are nominated and other patients' lines dropped before anything is parsed
(:mod:`~adapter.source.nominate`, :mod:`~adapter.source.sieve`). :mod:`~adapter.source.auth` signs in, and
:mod:`~adapter.source.dialects` knows how makes of server differ.
"""
