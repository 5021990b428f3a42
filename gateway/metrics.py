"""What the doors count. Labels are channel, code and status: never a client, never a symbol."""

from prometheus_client import Counter, Gauge

CLIENTS = Gauge("gateway_clients", "Open websocket connections")
SUBSCRIPTIONS = Gauge("gateway_subscriptions", "Subscriptions of all clients", ["channel"])
COMMANDS = Counter("gateway_commands", "Commands received, by operation", ["op"])
ERRORS = Counter("gateway_errors", "Errors told to websocket clients, by code", ["code"])
WRITES = Counter("gateway_writes", "Writes to websocket clients")
BYTES_OUT = Counter("gateway_bytes_out", "Bytes written to websocket clients")
CLOSED = Counter("gateway_clients_closed", "Connections we ended, by close code", ["code"])
PENDING_PEAK = Gauge("gateway_pending_bytes_peak", "Most bytes ever owed to one client")
REQUESTS = Counter("gateway_requests", "REST requests, by endpoint and status", ["endpoint", "status"])
REJECTED = Counter("gateway_handshakes_rejected", "Websocket handshakes refused, by reason", ["reason"])
