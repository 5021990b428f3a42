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
from typing import Any, Protocol

from redis.exceptions import RedisError

from topics import metrics
from topics.place import Place, close, connect
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

# KEYS: lease, epoch, events, followed, states. ARGV: who asks, ms the lease lives, the epoch it publishes under (0: it
# does not), now in ms, whether it may take what is vacant, ms a follower counts. Gives {epoch, followed, states kept,
# ""} to the owner, {0, ms the lease has left (-2: it is vacant), 0, owner} to others. The epoch is another one than it
# publishes under where a later one is known: of an owner that is gone, or a grant that was not heard of.
CLAIM = """
local holder, mine = redis.call('GET', KEYS[1]), tonumber(ARGV[3])
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
if redis.call('EXISTS', KEYS[3]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[3])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then held = math.max(held, tonumber(string.match(about[i + 1], '(%d+)-'))) end
  end
end
local epoch = 0
if mine > held or (mine > 0 and mine == held and not holder) then epoch = mine
elseif holder == ARGV[1] then epoch = held
elseif not holder and ARGV[5] == '1' then epoch = math.max(tonumber(ARGV[4]), held + 1) end
if epoch == 0 then
  redis.call('SET', KEYS[4], 1, 'PX', ARGV[6])
  return {0, redis.call('PTTL', KEYS[1]), 0, holder or ''}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', epoch))
return {epoch, redis.call('EXISTS', KEYS[4]), redis.call('EXISTS', KEYS[5]), ''}
"""

# KEYS: lease, states. ARGV: whose. Those who follow are told, so that one of them takes it at once.
RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('XADD', KEYS[2], 'MAXLEN', '4', '*', 'd', ARGV[2])
end
"""

# KEYS: lease, states. ARGV: whose, the words, how many to keep, and for how many seconds. Of an owner that has lost the
# feed, and does not know it yet, nobody hears.
TELL = """
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'd', ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
end
"""

OF_ONE_FEED = ("WRONGTYPE", "user_script")  # how errors begin that come of what lies under its keys

RELEASED = b'{"state":"released"}'


class Claimant(Protocol):
    """A feed, as the leases see it."""

    place: Place
    epoch: int  # it publishes under; 0: it does not

    def owned(self, epoch: int, *, until: float, followed: bool) -> None:
        """It is this node's, to be published under ``epoch``; sure ``until`` (monotonic). Told at every renewal."""
        ...

    def held(self, owner: str) -> None:
        """It is another node's. Told whenever that was seen."""
        ...

    def away(self) -> None:
        """Redis does not say whose it is."""
        ...

    def untold(self) -> None:
        """Redis does not know its state, though it is this node's."""
        ...


Holding = tuple[Place, str]  # a feed, and by whom


class Leases:
    """This node's claims."""

    def __init__(
        self,
        url: str,
        node: str,
        *,
        clock_ms: Callable[[], int],
        ttl: float,
        probe_every: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis = connect(url, timeout=TIMEOUT)
        # Each claimant is somebody else, as are two nodes with one name: what one that is being closed has yet to keep
        # must not be taken for its own by the one that is started in its place.
        mine = f"{node}/{secrets.token_hex(4)}"
        self._names = (f"{mine}-{number}" for number in count())
        self._holders: dict[Claimant, str] = {}
        self._clock_ms, self._monotonic = clock_ms, monotonic
        self._ttl, self._probe_every = ttl, probe_every
        self._due: dict[Claimant, float] = {}  # when it is to be claimed next (monotonic)
        self._told: dict[Holding, bytes] = {}  # states that Redis lacks, the newest of each
        self._released: list[Holding] = []
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
        self._due.pop(claimant, None)
        holder = self._holders.pop(claimant, "")
        if claimant.epoch and holder:
            self._released.append((claimant.place, holder))
            self._wake.set()

    def tell(self, claimant: Claimant, words: bytes) -> None:
        """Tell those who follow what became of a feed that is this node's."""
        if (holder := self._holders.get(claimant)) is not None:
            self._told[claimant.place, holder] = words
            self._wake.set()

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
        if not (due or released or told or self._away):
            return True
        holders = [self._holders[claimant] for claimant in due]
        try:
            answers = await self._ask(list(zip(due, holders, strict=True)), released, told)
        except asyncio.CancelledError:
            self._told, self._released = told | self._told, released + self._released
            raise
        except (RedisError, OSError) as error:
            self._told = dict(list((told | self._told).items())[-WORDS_KEPT:])
            self._released = (released + self._released)[-WORDS_KEPT:]
            self._failed(due, error)
            with suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect()  # the answer to a late command fits no other one
            return False
        if self._away:
            self._away, self._owners_first_until = False, now + OWNERS_FIRST * self._ttl
        for claimant, holder, answer in zip(due, holders, answers, strict=True):
            if isinstance(answer, Exception):
                self._refused(claimant, answer)
            elif claimant in self._due:
                try:
                    self._take(claimant, answer, asked_at=now)
                except Exception:  # one feed's failure must not end the leases of all others
                    log.exception("claim_failed", extra={"place": claimant.place.lease})
            elif answer[0]:  # it has left meanwhile
                self._released.append((claimant.place, holder))
        return True

    async def _ask(
        self,
        due: Sequence[tuple[Claimant, str]],
        released: Sequence[Holding],
        told: dict[Holding, bytes],
    ) -> Sequence[Any]:
        """Raises a failure that is not about one feed."""
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
        grave = [failure for failure in failures if not str(failure).startswith(OF_ONE_FEED)]
        if grave and len(failures) == len(answers):
            raise grave[0]
        return answers[: len(due)]

    def _take(self, claimant: Claimant, answer: Sequence[Any], *, asked_at: float) -> None:
        epoch, about, kept, owner = answer
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


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
