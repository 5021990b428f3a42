"""What the topic side counts. Labels are exchange and channel: never a symbol, never a client."""

from math import nan

from prometheus_client import Counter, Gauge

from topics.tally import Tallies

FEEDS = Gauge("gateway_feeds", "Running upstream subscriptions", ["exchange", "channel"])
FOLLOWS = Gauge("gateway_feeds_followed", "Feeds that another node runs for this one")
TOPICS = Gauge("gateway_topics", "Topics with a running upstream", ["exchange", "channel"])
EVENTS = Tallies("gateway_events_published", "Events given a cursor", ["exchange", "channel"])
FOLLOWED = Tallies("gateway_events_followed", "Events of feeds that another node owns", ["exchange", "channel"])
FRAMES = Tallies("gateway_frames_encoded", "Data frames encoded", ["exchange", "channel"])
DUPLICATES = Counter("gateway_duplicates_dropped", "Trades seen before", ["exchange"])
PRIME_FAILURES = Counter(
    "gateway_prime_failures", "Histories and backfills that could not be fetched", ["exchange", "channel"]
)
HELD_OVERFLOWS = Counter("gateway_held_overflows", "Fetches cut short: too much arrived meanwhile", ["exchange"])
GAPS = Counter("gateway_gaps", "Losses told to clients", ["exchange", "channel", "reason", "backfilled"])
STATES = Counter(
    "gateway_topic_states", "Changes of an upstream's state, by the new one", ["exchange", "channel", "state"]
)
TEXT_FILLS = Counter("gateway_book_text_fills", "Books asked of REST for the venue's own decimals", ["exchange"])
RING_BYTES = Gauge("gateway_ring_bytes", "Bytes held by all rings")
REDIS_UP = Gauge("gateway_redis_up", "Whether Redis took the last write or question; NaN where there is none")
REDIS_UP.set(nan)
REDIS_ERRORS = Counter("gateway_redis_errors", "Failures of Redis", ["kind"])
STORED = Counter("gateway_redis_events_stored", "Events written to Redis")
UNSTORED = Counter("gateway_redis_events_unstored", "Events dropped from memory before Redis could take them")
FENCED = Counter("gateway_redis_writes_fenced", "Writes refused because a later owner has written")
WRITES = Tallies("gateway_writes", "Writes to websocket clients")
BYTES_OUT = Tallies("gateway_bytes_out", "Bytes written to websocket clients")
LAGGED = Counter("gateway_clients_lagged", "Times that a client which had fallen behind lost something by it")
