"""Decisions to a hospital, on the best rung its server takes, without ever overruling a person.

``plan``, ``monitoring_plan`` and ``note_plan`` are pure: what was decided, what the server holds and what the
ledger remembers go in; creates, updates, respected human decisions and refusals come out. ``rungs`` chooses
the ways, ``courier`` carries a plan to its end on one of them, ``journal`` writes every step down, ``send``
goes down the ladder. Public: :func:`adapter.writeback.send.write_back`,
:func:`adapter.writeback.send.write_flags`, :class:`adapter.writeback.send.Ladder`. See docs/write-back.md.
"""
