"""Shared streams: one upstream, one cursor and one encoding per topic, however many clients watch it."""
