"""Doors: what clients see. HTTP, websocket, settings, and the composition root."""
