"""What every door of one gateway shares."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.types import Scope

from gateway.limits import Addresses, Door, Proxies, Requests
from gateway.settings import LimitSettings
from gateway.siblings import Siblings
from topics.history import History
from topics.manager import Manager

if TYPE_CHECKING:
    from gateway.socket import Session

VERSION = "0.3.0"


@dataclass(slots=True, kw_only=True)
class Gateway:
    """One running gateway."""

    manager: Manager
    history: History
    limits: LimitSettings
    door: Door
    addresses: Addresses
    requests: Requests
    proxies: Proxies
    node: str  # its name in the cluster
    siblings: Siblings | None  # the gateway's other processes; None: this is all of it
    clock_ms: Callable[[], int]
    started_ms: int
    draining: bool = False
    sessions: "set[Session]" = field(default_factory=set)

    def address_of(self, scope: Scope) -> str:
        """Whose request it is, as far as that can be known; empty: it came over a Unix socket."""
        peer = scope.get("client")
        return self.proxies.client(peer[0], Headers(scope=scope).getlist("x-forwarded-for")) if peer else ""

    @property
    def server(self) -> str:
        return f"market-gateway/{VERSION}"
