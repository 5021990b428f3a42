"""The simulator's faults and counters over its control endpoint, as tests switch and read them."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx2

POLL = 0.1  # seconds between two looks at another process, whose state has no event


class Switchboard:
    """Switches faults on by venue and kind, and knows when they have struck."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def inject(self, venue: str, kind: str, **how: Any) -> int:
        """Switch a fault on; its id."""
        reply = await self._http.post("/control/faults", json={"venue": venue, "kind": kind, **how})
        assert reply.status_code == 200, reply.text
        return int(reply.json()["id"])

    async def over(self, faults: Iterable[int], *, patience: float = 30.0) -> bool:
        """Wait until these faults have struck or expired; what is left then is switched off, and False."""
        waiting, end = set(faults), asyncio.get_running_loop().time() + patience
        while waiting := waiting & {row["id"] for row in (await self._read("faults"))["active"]}:
            if asyncio.get_running_loop().time() > end:
                for fault in waiting:
                    await self._http.delete("/control/faults", params={"id": fault})
                return False
            await asyncio.sleep(POLL)
        return True

    async def injected(self) -> dict[str, dict[str, int]]:
        """How often each kind has struck, by venue."""
        found: dict[str, dict[str, int]] = (await self._read("faults"))["injected"]
        return found

    async def counters(self, venue: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self._read("counters"))[venue]
        return found

    async def _read(self, what: str) -> dict[str, Any]:
        reply = await self._http.get(f"/control/{what}")
        reply.raise_for_status()
        found: dict[str, Any] = reply.json()
        return found
