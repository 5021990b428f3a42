"""Who owns which feed: one node in the cluster runs it, all others follow.

A node claims a feed when somebody there wants it. Who gets it is its owner for as long as it renews the lease, and is
given an epoch above all before it; the others ask again when the lease would end. The owner knows by its own monotonic
clock when it can no longer be sure, and writes nothing from then on (``until``). That is for tidiness: Redis refuses an
older epoch whatever clocks say (``store.py``).

A node that cannot reach Redis runs on its own what nobody gave it, and claims it under the epoch it began with as soon
as Redis is back. Where two did, the higher epoch stays: so epochs only rise for every client. Who merely follows lets
the owners come first then.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from math import inf
from typing import Any

from redis.exceptions import RedisError

from topics import metrics
from topics.claim import CLAIM, OF_ONE_FEED, RELEASE, RELEASED, TELL, Claimant, Holding, Parted
from topics.place import ELSEWHERE, UNSERVED, Doubt, Place, close, connect
from topics.store import TIMEOUT

log = logging.getLogger("topics.lease")

TTL = 5.0  # seconds a lease lives
# As parts of that:
RENEW_AFTER = 1 / 3
SURE_FOR = 2 / 3  # after the renewal was sent: beyond it another node may soon believe the lease to be vacant
OWNERS_FIRST = 3 / 5  # after Redis is back, in which followers take nothing
FOLLOWED_FOR = 3  # an owner goes on for others after the last follower asked
SOONEST = 0.05  # seconds until a follower asks again
CLAIMS_AT_ONCE = 500
STATES_KEPT = 4
WORDS_KEPT = 2_000  # states, and farewells, not said yet while Redis is away; a lease not given up ends by itself
STATES_KEPT_FOR = 24 * 3600  # seconds


class Leases:
    """This node's claims at one server."""

    def __init__(
        self,
        url: str,
        node: str,
        *,
        clock_ms: Callable[[], int],
        ttl: float,
        probe_every: float,
        monotonic: Callable[[], float] = time.monotonic,
        doubted: Doubt = lambda error: None,
    ) -> None:
        """``doubted`` as of ``store.Store``."""
        self._redis = connect(url, timeout=TIMEOUT)
        # Each claimant is somebody else, as are two nodes with one name: what one that is being closed has yet to keep
        # must not be taken for its own by the one that is started in its place.
        mine = f"{node}/{secrets.token_hex(4)}"
        self._names = (f"{mine}-{number}" for number in count())
        self._holders: dict[Claimant, str] = {}
        self._clock_ms, self._monotonic = clock_ms, monotonic
        self._ttl, self._probe_every, self._doubted = ttl, probe_every, doubted
        self._due: dict[Claimant, float] = {}  # when it is to be claimed next (monotonic)
        self._told: dict[Holding, bytes] = {}  # states that Redis lacks, the newest of each
        self._released: list[Holding] = []
        self._astray: dict[Claimant, float] = {}  # since when it is told that they lie, or will lie, elsewhere
        self._parted: set[str] = set()  # holders that another server has been told of while this one was asked
        self._wake = asyncio.Event()
        self._away = False
        self._owners_first_until = -inf
        self._claim = self._redis.register_script(CLAIM)
        self._release, self._tell = self._redis.register_script(RELEASE), self._redis.register_script(TELL)

    def join(self, claimant: Claimant) -> None:
        """Claim it, now and for as long as it stays. While Redis is known to be away nobody waits for it."""
        self._due[claimant], self._holders[claimant] = -inf, next(self._names)
        self._wake.set()
        if self._away:
            claimant.away()

    def hurry(self, claimant: Claimant) -> None:
        """It may be had now, or may be had no more."""
        if claimant in self._due:
            self._due[claimant] = -inf
            self._wake.set()

    def leave(self, claimant: Claimant) -> None:
        """Let others have it, and forget it."""
        holder = self._forget(claimant)
        if claimant.epoch and holder:
            self._released.append((claimant.place, holder))
            self._wake.set()

    def tell(self, claimant: Claimant, words: bytes) -> None:
        """Tell those who follow what became of a feed that is this node's."""
        if (holder := self._holders.get(claimant)) is not None:
            self._told[claimant.place, holder] = words
            self._wake.set()

    def part_with(self, stays: Callable[[Place], bool]) -> Parted:
        """What is another server's from now on; of what stays, what was refused as such is tried again."""
        for claimant in self._astray:
            self.hurry(claimant)
        everything = Parted(dict(self._holders), self._told, self._released, self._away)
        gone = everything.of(lambda place: not stays(place))
        for claimant in gone.claims:
            self._forget(claimant)
        holders = set(gone.claims.values())
        self._parted |= holders
        _, self._told, self._released, _ = everything.of(stays)
        return gone._replace(told={one: words for one, words in gone.told.items() if one[1] not in holders})

    def take_over(self, parted: Parted) -> None:
        """Go on with what was another server's. If that did not answer, owners come first here, too."""
        if parted.away and parted.claims:
            self._owners_first_until = self._monotonic() + OWNERS_FIRST * self._ttl
        self._due |= dict.fromkeys(parted.claims, -inf)
        self._holders |= parted.claims
        self._parted -= set(parted.claims.values())
        self._told = parted.told | self._told
        self._released += parted.released
        self._wake.set()
        for claimant in parted.claims:
            claimant.untold()

    async def run(self) -> None:
        """Claim what is due, until cancelled."""
        while True:
            self._wake.clear()
            pause = self._probe_every
            if await self._try():
                due = min(self._due.values(), default=inf)
                pause = min(max(0.0, due - self._monotonic()), self._ttl)
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # redis-py 8.1 swallows it in the midst of a pipeline
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await (asyncio.sleep(pause) if self._away else self._wake.wait())

    async def aclose(self) -> None:
        """Say what is left to be said: what was given up, also if ``run`` ended while saying it."""
        if self._told or self._released:
            await self._try()  # although Redis may be away: redis-py 8.1 makes a time-out of a cancellation, too
        await close(self._redis)

    async def _try(self) -> bool:
        """One round; False: Redis does not answer."""
        now = self._monotonic()
        due = [one for one, at in self._due.items() if at <= now][:CLAIMS_AT_ONCE]
        released, self._released = self._released, []
        told, self._told = self._told, {}
        self._parted.clear()
        if not (due or released or told or self._away):
            return True
        holders = [self._holders[claimant] for claimant in due]
        try:
            answers = await self._ask(list(zip(due, holders, strict=True)), released, told)
        except asyncio.CancelledError:
            self._unsaid(told, released)
            raise
        except (RedisError, OSError) as error:
            self._unsaid(told, released)
            self._failed(due, error)
            with suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect()  # the answer to a late command fits no other one
            return False
        if self._away:
            self._away, self._owners_first_until = False, now + OWNERS_FIRST * self._ttl
        self._say_again(told, released, answers[len(due) :])
        for claimant, holder, answer in zip(due, holders, answers, strict=False):
            if isinstance(answer, UNSERVED):
                self._stray(claimant, answer)
            elif isinstance(answer, Exception):
                self._refused(claimant, answer)
            elif claimant in self._due:
                try:
                    self._take(claimant, answer, asked_at=now)
                except Exception:  # one feed's failure must not end the leases of all others
                    log.exception("claim_failed", extra={"place": claimant.place.lease})
            elif answer[0] and holder not in self._parted:  # it has left meanwhile
                self._released.append((claimant.place, holder))
        return True

    async def _ask(
        self,
        due: Sequence[tuple[Claimant, str]],
        released: Sequence[Holding],
        told: dict[Holding, bytes],
    ) -> Sequence[Any]:
        """The answers, refusals among them. Raises a failure that is not about one feed."""
        may_take = b"1" if self._monotonic() >= self._owners_first_until and not self._away else b"0"
        async with self._redis.pipeline(transaction=False) as pipe:
            if not (due or released or told):
                pipe.ping()
            for one, holder in due:
                place = one.place
                keys = [place.lease, place.epoch, place.events, place.followed, place.states]
                arguments: list[str | bytes | int] = [
                    holder,
                    _ms(self._ttl),
                    one.epoch,
                    self._clock_ms(),
                    may_take,
                    _ms(FOLLOWED_FOR * self._ttl),
                ]
                await self._claim(keys=keys, args=arguments, client=pipe)
            for (place, holder), words in told.items():
                arguments = [holder, words, STATES_KEPT, STATES_KEPT_FOR]
                await self._tell(keys=[place.lease, place.states], args=arguments, client=pipe)
            for place, holder in released:
                await self._release(keys=[place.lease, place.states], args=[holder, RELEASED], client=pipe)
            answers = await pipe.execute(raise_on_error=False)
        failures = [answer for answer in answers if isinstance(answer, Exception)]
        grave = [one for one in failures if not (isinstance(one, ELSEWHERE) or str(one).startswith(OF_ONE_FEED))]
        if grave and len(failures) == len(answers):
            raise grave[0]
        return answers

    def _say_again(self, told: dict[Holding, bytes], released: Sequence[Holding], answers: Sequence[Any]) -> None:
        """What was said to another server than the one where it lies: with the next round, or where that is then."""
        unheard = [isinstance(answer, ELSEWHERE) for answer in answers]
        if any(unheard):
            words = {one: told[one] for one, lost in zip(told, unheard, strict=False) if lost}
            self._unsaid(words, [one for one, lost in zip(released, unheard[len(told) :], strict=False) if lost])
            self._doubted(next(answer for answer in answers if isinstance(answer, ELSEWHERE)))

    def _unsaid(self, told: dict[Holding, bytes], released: Sequence[Holding]) -> None:
        """Say it later, as far as nothing newer is to be said."""
        words = {one: words for one, words in told.items() if one[1] not in self._parted} | self._told
        self._told = dict(list(words.items())[-WORDS_KEPT:])
        self._released = [*released, *self._released][-WORDS_KEPT:]

    def _stray(self, claimant: Claimant, error: Exception) -> None:
        """It is soon known where it lies; who waits for it is told if that takes long."""
        self._doubted(error)
        if claimant in self._due:
            now = self._monotonic()
            since = self._astray.setdefault(claimant, now)
            self._due[claimant] = now + self._probe_every
            if now - since >= self._probe_every:
                claimant.away()

    def _take(self, claimant: Claimant, answer: Sequence[Any], *, asked_at: float) -> None:
        epoch, about, kept, owner = answer
        self._astray.pop(claimant, None)
        if epoch:
            self._due[claimant] = asked_at + RENEW_AFTER * self._ttl
            claimant.owned(epoch, until=asked_at + SURE_FOR * self._ttl, followed=bool(about))
            if not kept:
                claimant.untold()
            return
        left = about / 1000 if about >= 0 else self._owners_first_until - asked_at
        self._due[claimant] = asked_at + min(max(left, SOONEST), self._ttl)
        if owner:
            if claimant.epoch:
                metrics.FENCED.inc()
            claimant.held(owner.decode().partition("/")[0])

    def _failed(self, due: Sequence[Claimant], error: Exception) -> None:
        if not self._away:
            log.warning("leases_unknown", extra={"kind": type(error).__name__, "error": str(error)[:200]})
        self._away = True
        self._doubted(error)
        for claimant in due:
            self._postpone(claimant)

    def _refused(self, claimant: Claimant, error: Exception) -> None:
        """Something is wrong with this feed's keys."""
        log.error("claim_failed", extra={"place": claimant.place.lease, "error": str(error)[:200]})
        self._postpone(claimant)

    def _postpone(self, claimant: Claimant) -> None:
        if claimant in self._due:
            self._due[claimant] = self._monotonic() + self._probe_every
            claimant.away()

    def _forget(self, claimant: Claimant) -> str:
        """Who held it, or asked to; nobody if it was not claimed."""
        self._due.pop(claimant, None)
        self._astray.pop(claimant, None)
        return self._holders.pop(claimant, "")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
