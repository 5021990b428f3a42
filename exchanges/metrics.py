"""What the venue side counts. Labels are exchange, kind and reason: never a symbol."""

from prometheus_client import Counter, Gauge

SOCKETS = Gauge("gateway_upstream_sockets", "Open websockets to the venue", ["exchange"])
CONNECTS = Counter("gateway_upstream_connects", "Websocket connects that succeeded", ["exchange"])
HANDSHAKES = Counter("gateway_upstream_handshakes", "Websocket handshakes, by outcome", ["exchange", "outcome"])
ROTATIONS = Counter(
    "gateway_upstream_rotations", "Connections replaced before the venue cuts them, by outcome", ["exchange", "outcome"]
)
DISCONNECTS = Counter("gateway_upstream_disconnects", "Websockets lost, by reason", ["exchange", "reason"])
MESSAGES = Counter("gateway_upstream_messages", "Websocket messages received", ["exchange"])
BYTES = Counter("gateway_upstream_bytes", "Websocket payload bytes received", ["exchange"])
BAD_MESSAGES = Counter("gateway_upstream_bad_messages", "Messages that could not be read", ["exchange"])
UNKNOWN_MESSAGES = Counter("gateway_upstream_unknown_messages", "Well-formed messages of no known kind", ["exchange"])
RESYNCS = Counter("gateway_book_resyncs", "Books that had to start over, by reason", ["exchange", "reason"])
SNAPSHOT_RETRIES = Counter(
    "gateway_book_snapshot_retries", "Book snapshots that were older than the stream", ["exchange"]
)
REFUSALS = Counter("gateway_upstream_refusals", "Subscriptions the venue refused", ["exchange"])
STALLS = Counter(
    "gateway_upstream_stalls", "Streams found silent or late on a living socket", ["exchange", "channel", "kind"]
)
BANNED_UNTIL = Gauge(
    "gateway_upstream_banned_until_seconds", "Unix time until which the venue told us to stay away", ["exchange"]
)
BUDGET_USED = Counter(
    "gateway_upstream_budget_used", "Spent of what we allow ourselves of a venue's rates", ["exchange", "pool"]
)
BUDGET_REFUSED = Counter(
    "gateway_upstream_budget_refused", "Requests refused because the budget was used up", ["exchange", "pool"]
)
REQUESTS = Counter("gateway_upstream_requests", "REST requests, by outcome", ["exchange", "outcome"])
CATALOGUE = Gauge("gateway_catalogue_instruments", "Instruments in the catalogue", ["exchange"])
SKIPPED_ROWS = Counter(
    "gateway_catalogue_rows_skipped", "Rows of a list of markets that could not be read", ["exchange"]
)
