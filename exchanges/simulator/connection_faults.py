"""What faults do to a venue's connections: ended with or without a word, or left standing and dead."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from .faults import Fault, Faults
from .sockets import Connection

Announce = Callable[[Connection], None]  # the venue's own notice that it is about to go


def strike(faults: Faults, fault: Fault, connections: Iterable[Connection], announce: Announce | None) -> int:
    """Let a connection fault happen to these, oldest first, as often as it may; how many it happened to."""
    struck = 0
    for connection in sorted(connections, key=lambda each: each.opened):
        if fault.left == 0:
            break
        if connection.struck_by == fault.id or not _concerns(fault, connection, faults.now()):
            continue
        connection.struck_by = fault.id
        ACTIONS[fault.kind](fault, connection, announce)
        faults.spend(fault)
        struck += 1
    return struck


def opened(faults: Faults, connection: Connection, announce: Announce | None) -> None:
    """A connection came while faults are on that are for new ones as well."""
    for fault in faults.of("connection"):
        if fault.kind != "half_open" or fault.parameters["new"]:
            strike(faults, fault, [connection], announce)


def sweep(faults: Faults, connections: Iterable[Connection], announce: Announce | None) -> None:
    """Connections grow older: those that have reached the age of a cut that is on end."""
    for fault in faults.of("connection"):
        if fault.kind == "cut":
            strike(faults, fault, connections, announce)


def _concerns(fault: Fault, connection: Connection, now: float) -> bool:
    if not connection.protocol.open or (connection.silent and fault.kind != "reset"):
        return False
    return fault.kind != "cut" or now - connection.opened >= fault.parameters["age"]


def _hang_up(fault: Fault, connection: Connection, _announce: Announce | None) -> None:
    connection.close(int(fault.parameters["code"]))


def _go_down(fault: Fault, connection: Connection, announce: Announce | None) -> None:
    """Announced where the venue has a way to; the close comes so much later."""
    if announce is None:
        _hang_up(fault, connection, None)
        return
    announce(connection)
    connection.flush()
    asyncio.get_running_loop().call_later(fault.parameters["notice"], connection.close, int(fault.parameters["code"]))


ACTIONS: Mapping[str, Callable[[Fault, Connection, Announce | None], None]] = {
    "hangup": _hang_up,
    "reset": lambda _fault, connection, _announce: connection.reset(),
    "half_open": lambda _fault, connection, _announce: connection.silence(),
    "maintenance": _go_down,
    "cut": _hang_up,
}
