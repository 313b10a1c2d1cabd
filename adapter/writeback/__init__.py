"""Decisions to ResearchSubject, Flag and Provenance on a server, without ever overruling a person.

``plan`` is pure: decisions, what the server holds, and what the ledger remembers go in; creates, updates,
respected human decisions and refusals come out. ``send`` carries a plan to a FHIR server, ``file`` writes the
same transactions to disk. Public: :func:`adapter.writeback.send.write_back`,
:func:`adapter.writeback.file.write_bundle_file`.
"""
