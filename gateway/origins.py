"""Which web pages may use this gateway: those of the same host, those of localhost, and those that are listed. Pure.

A browser sends ``Origin`` with every websocket handshake and lets any page open one, so the server must look. A request
without it comes from no web page and is allowed.
"""

from collections.abc import Sequence
from urllib.parse import urlsplit

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
LOCAL_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"  # for the CORS middleware
SETTING = "GATEWAY_ALLOWED_ORIGINS"


def allowed(origin: str | None, host: str | None, *, origins: Sequence[str], hosts: Sequence[str]) -> bool:
    """Whether a page of ``origin`` may connect to us as ``host`` (the Host header).

    Same host counts only for the ``hosts`` we answer to: a name that an attacker makes resolve to this machine would
    be the same host as its own page too.
    """
    if origin is None or origin in origins or "*" in origins:
        return True
    try:
        parts, name = urlsplit(origin), urlsplit(f"//{host or ''}").hostname
    except ValueError:
        return False  # no URL at all, which no browser sends
    if parts.scheme not in ("http", "https"):
        return False
    if parts.hostname in LOCAL_HOSTS:
        return True
    return parts.netloc == host and name in hosts
