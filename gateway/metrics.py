"""What the doors count. Labels are channel, code and status: never a client, never a symbol."""

from prometheus_client import Counter, Gauge, Histogram

WORKERS = Gauge("gateway_workers", "Processes of this gateway that answered")
WORKERS.set(1)
LOOP_LAG = Histogram(
    "gateway_loop_lag_seconds",
    "How late the event loop comes back, measured four times a second",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)
CLOCK_JUMPS = Counter("gateway_clock_jumps", "Times that the wall clock was set by more than a second")
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
