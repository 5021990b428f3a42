"""An end that is announced: clients are asked to go to another node while they are still served.

Nobody new is let in meanwhile (``server.py`` has closed the door). Each is given a moment of its own to go at, so that
they do not all knock at once where they go to; who has not gone in the end is closed like everybody else.
"""

import asyncio
import random
from collections.abc import Callable

from gateway.state import Gateway

LOOK_EVERY = 0.05  # seconds


async def drain(gateway: Gateway, *, hurry: Callable[[], bool]) -> None:
    """Return when all who were asked have gone, when their time is over, or when there is a ``hurry``."""
    gateway.draining = True
    grace = gateway.limits.drain
    asked = {session for session in gateway.sessions if session.writer.extended} if grace else set()
    for session in asked:
        session.go_away(grace, random.uniform(0, grace / 2))  # noqa: S311  # it only spreads them
    loop = asyncio.get_running_loop()
    end = loop.time() + grace
    while asked & gateway.sessions and loop.time() < end and not hurry():  # noqa: ASYNC110  # a signal has no event
        await asyncio.sleep(LOOK_EVERY)
