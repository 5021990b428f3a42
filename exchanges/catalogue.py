"""Keeps a venue's catalogue: loaded at start, refreshed, kept when a refresh fails, remembered on disk.

Each instrument group (futures, spot, …) is fetched on its own, so that one that fails does not take the others along.
"""

import asyncio
import logging
from dataclasses import asdict
from pathlib import Path

import orjson

from exchanges import metrics
from exchanges.errors import GatewayError, VenueUnavailable
from exchanges.instrument import Catalogue, Instrument
from exchanges.venue import Venue

log = logging.getLogger("exchanges.catalogue")

REFRESH = 3600.0  # seconds
FIRST_RETRY, LONGEST_RETRY = 1.0, 60.0  # while a group has never loaded, or failed last time


class CatalogueKeeper:
    """One venue's catalogue. ``run`` keeps it fresh; ``current`` gives it.

    ``source`` says where it comes from: what was remembered of another source is not recalled.
    """

    def __init__(self, venue: Venue, *, cache_dir: Path | None, source: str = "") -> None:
        self._venue = venue
        self._source = source
        self._file = cache_dir / f"instruments-{venue.name}.json" if cache_dir else None
        self._groups: dict[str, list[Instrument]] = {}
        self._catalogue: Catalogue | None = None
        self._failing: dict[str, str] = {}  # what was logged of the last refresh, by group
        self.loaded = asyncio.Event()  # something to resolve symbols with

    def current(self) -> Catalogue:
        """The newest catalogue.

        Raises:
            VenueUnavailable: it never loaded.
        """
        if self._catalogue is None:
            raise VenueUnavailable(f"{self._venue.name} has not given its list of markets yet", retry_after=1.0)
        return self._catalogue

    async def run(self) -> None:
        """Load and refresh until cancelled."""
        if stored := await asyncio.to_thread(self._recall):
            self._groups = stored
            self._build()
        retry = FIRST_RETRY
        while True:
            complete = await self.refresh()
            await asyncio.sleep(REFRESH if complete else retry)
            retry = FIRST_RETRY if complete else min(retry * 2, LONGEST_RETRY)

    async def refresh(self) -> bool:
        """Fetch every group; what fails keeps what it had. True if all came."""
        names = self._venue.capabilities.instrument_groups
        answers = await asyncio.gather(*(self._venue.fetch_instruments(n) for n in names), return_exceptions=True)
        failures: dict[str, Exception] = {}
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, Exception):
                failures[name] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._groups[name] = answer
        self._tell(failures)
        if len(failures) < len(names):
            self._build()
            await asyncio.to_thread(self._remember)
        return not failures

    def _tell(self, failures: dict[str, Exception]) -> None:
        """One line for a failure, however often it is repeated."""
        words = {name: str(error) for name, error in failures.items()}
        if words and words != self._failing:
            extra = {"exchange": self._venue.name, "groups": ",".join(words), "error": "; ".join({*words.values()})}
            bug = next((error for error in failures.values() if not isinstance(error, GatewayError)), None)
            log.warning("catalogue_failed", extra=extra, exc_info=bug)
        self._failing = words

    def _build(self) -> None:
        instruments = [instrument for group in self._groups.values() for instrument in group]
        self._catalogue = Catalogue(instruments, default_market=self._venue.capabilities.default_market)
        metrics.CATALOGUE.labels(self._venue.name).set(len(self._catalogue))
        self.loaded.set()

    def _remember(self) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            groups = {name: [asdict(i) for i in group] for name, group in self._groups.items()}
            content = orjson.dumps({"source": self._source, "groups": groups})
            partial = self._file.with_suffix(".partial")
            partial.write_bytes(content)
            partial.replace(self._file)
        except OSError as error:
            log.warning("catalogue_not_saved", extra={"file": str(self._file), "error": str(error)})

    def _recall(self) -> dict[str, list[Instrument]]:
        if self._file is None or not self._file.exists():
            return {}
        try:
            stored = orjson.loads(self._file.read_bytes())
            if stored["source"] != self._source:
                return {}
            return {name: [Instrument(**row) for row in group] for name, group in stored["groups"].items()}
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            log.warning("catalogue_not_read", extra={"file": str(self._file), "error": str(error)})
            return {}
