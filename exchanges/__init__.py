"""Venues: all that knows an exchange's wire protocol. Imports nothing of ``topics`` or ``gateway``."""
