"""How a feed is claimed, given up and told of: the scripts that do it in Redis, and what they mean to who claims it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from topics.place import Place

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


class Parted(NamedTuple):
    """What is claimed, told and given up at another server from now on."""

    claims: dict[Claimant, str]  # with the holder that each has there
    told: dict[Holding, bytes]  # last words; who goes on says anew how it is
    released: list[Holding]
    away: bool  # this one did not answer

    def of(self, lies: Callable[[Place], bool]) -> "Parted":
        """That of which the place ``lies`` there."""
        claims = {claimant: holder for claimant, holder in self.claims.items() if lies(claimant.place)}
        told = {holding: words for holding, words in self.told.items() if lies(holding[0])}
        return Parted(claims, told, [holding for holding in self.released if lies(holding[0])], self.away)
