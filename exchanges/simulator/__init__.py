"""Venues to talk to offline, in their real wire protocols, with a ground truth to compare against.

Written from the venues' documentation; imports nothing of the rest of the project: a misreading must not be made twice.

Reading order: ``market.py`` (what is true), ``binance.py`` and its two companions (that truth on the wire),
``streams.py`` (who hears what, and when), ``server.py`` (one process, one port, a path per venue).

What goes wrong on purpose: ``faults.py`` (which faults there are, and which are on), ``interference.py`` (messages),
``connection_faults.py``, ``gate.py`` (handshakes and requests), ``switchboard.py`` (the switch). What was stated before
that: ``truth.py``.
"""
