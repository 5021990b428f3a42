"""What the doors count. Labels are channel, code and status: never a client, never a symbol."""

from prometheus_client import Counter, Gauge

WORKERS = Gauge("gateway_workers", "Processes of this gateway that answered")
WORKERS.set(1)
CLIENTS = Gauge("gateway_clients", "Open websocket connections")
SUBSCRIPTIONS = Gauge("gateway_subscriptions", "Subscriptions of all clients", ["channel"])
COMMANDS = Counter("gateway_commands", "Commands received, by operation", ["op"])
DELAYED = Counter("gateway_commands_delayed", "Commands that waited because their client is in haste")
ERRORS = Counter("gateway_errors", "Errors told to websocket clients, by code", ["code"])
STOPPED = Gauge("gateway_clients_stopped", "Clients whose sockets take no more at the moment")
CLOSED = Counter("gateway_clients_closed", "Connections we ended, by close code", ["code"])
PENDING_PEAK = Gauge("gateway_pending_bytes_peak", "Most bytes ever owed to one client")
REQUESTS = Counter("gateway_requests", "REST requests, by endpoint and status", ["endpoint", "status"])
REJECTED = Counter("gateway_handshakes_rejected", "Websocket handshakes refused, by reason", ["reason"])
BREACHES = Counter("gateway_protocol_breaches", "Websocket clients that broke a bound on frames, by its kind", ["kind"])
REFUSED = Counter("gateway_http_refused", "Requests refused before they were read, by status", ["status"])
