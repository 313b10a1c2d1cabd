"""How the adapter proves itself to a hospital: a token kept in a file, or SMART Backend Services.

:mod:`~adapter.source.auth.token` is what the client asks for a token, :mod:`~adapter.source.auth.smart` gets
one by a signed statement from the authorisation server (:mod:`~adapter.source.auth.server`) with keys of our
own (:mod:`~adapter.source.auth.keys`); :mod:`~adapter.source.auth.scopes` says what it was granted for.
"""
