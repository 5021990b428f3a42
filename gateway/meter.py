"""Bounds on the frames that a client sends, kept by their headers alone. Pure: the clock is given, no payload is kept.

The websocket parser spends several µs on a frame however small, and a single read can hold 40,000 of them: by the time
it is through, everybody else has waited for a tenth of a second or three. The meter looks at the same bytes first and
stops at the first header that is beyond a bound. Whether frames are right is the parser's to say: here nothing is
unmasked, decoded or refused for its form.
"""

from collections.abc import Callable
from typing import NamedTuple

from gateway.replies import CLOSE_POLICY, CLOSE_TOO_BIG

MAX_FRAGMENTS = 256  # of one message
CONTROL_BURST, CONTROL_RATE = 64, 10.0  # pings, pongs and closes at once; a second after that
DATA_BURST, DATA_RATE = 1_000, 500.0  # frames with content, or with none: an empty one costs the parser as much

CONTINUATION, CLOSE, PONG = 0x0, 0x8, 0xA
DATA_OPCODES = (0x0, 0x1, 0x2)


class Breach(NamedTuple):
    """Which bound was passed: the close code and reason for the client, ``kind`` for a metric's label."""

    code: int
    reason: str
    kind: str  # "too_big", "fragments", "control", "data"


class FrameMeter:
    """Walks from header to header through what one client sends after its handshake.

    It goes deaf at the first breach, and where the parser too reads no further: after a close frame, and at an unknown
    opcode or a missing mask, behind which there are no frames any more but rubbish.
    """

    __slots__ = (
        "_at",
        "_breach",
        "_clock",
        "_control",
        "_control_burst",
        "_control_rate",
        "_data",
        "_data_burst",
        "_data_rate",
        "_deaf",
        "_fragments",
        "_head",
        "_max_fragments",
        "_max_message",
        "_message",
        "_skip",
    )

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_message: int,
        max_fragments: int = MAX_FRAGMENTS,
        control_burst: int = CONTROL_BURST,
        control_rate: float = CONTROL_RATE,
        data_burst: int = DATA_BURST,
        data_rate: float = DATA_RATE,
    ) -> None:
        self._clock = clock  # seconds, monotonic
        self._max_message = max_message  # bytes, of one frame and of all fragments of a message
        self._max_fragments = max_fragments
        self._control_burst, self._control_rate = control_burst, control_rate
        self._data_burst, self._data_rate = data_burst, data_rate
        self._head = b""  # of a header whose rest has not come
        self._skip = 0  # bytes of mask and payload that have not come
        self._message = self._fragments = 0  # bytes declared and frames, of the message so far
        self._control = self._data = 0.0  # frames in the two leaking buckets, as of _at
        self._at = clock()
        self._breach: Breach | None = None
        self._deaf = False

    def feed(self, data: bytes) -> Breach | None:
        """The first breach in everything that came so far; None: go on, and let the parser have ``data``."""
        if self._deaf:
            return self._breach
        if self._head:
            data = self._head + data
        position, end = self._skip, len(data)
        if position < end:
            self._leak()
        while (after := position + 2) <= end:
            first, second = data[position], data[position + 1]
            length = second & 0x7F
            if length > 125:
                after += 2 if length == 126 else 8
                if after > end:
                    break
                length = int.from_bytes(data[position + 2 : after], "big")
            self._breach = self._judge(first, second, length)
            if self._deaf:
                return self._breach
            position = after + 4 + length  # the mask is not ours to read
        self._head = data[position:]
        self._skip = position - end if position > end else 0
        return None

    def _leak(self) -> None:
        """Once a read: all frames of one read come at the same time."""
        now = self._clock()
        passed, self._at = now - self._at, now
        control = self._control - passed * self._control_rate
        data = self._data - passed * self._data_rate
        self._control = control if control > 0.0 else 0.0  # a call of max() costs more than all else here
        self._data = data if data > 0.0 else 0.0

    def _judge(self, first: int, second: int, length: int) -> Breach | None:
        opcode = first & 0x0F
        if second < 0x80 or (opcode not in DATA_OPCODES and not CLOSE <= opcode <= PONG):
            self._deaf = True
            return None
        if opcode >= CLOSE:
            return self._judge_control(opcode, length)
        if opcode != CONTINUATION:
            self._message = self._fragments = 0
        self._message += length
        self._fragments += 1
        self._data += 1.0
        if self._message > self._max_message:
            return self._end(CLOSE_TOO_BIG, f"a message has at most {self._max_message} bytes", "too_big")
        if self._fragments > self._max_fragments:
            return self._end(CLOSE_TOO_BIG, f"a message has at most {self._max_fragments} fragments", "fragments")
        if self._data > self._data_burst:
            return self._end(CLOSE_POLICY, f"more than {self._data_rate:g} frames a second", "data")
        return None

    def _judge_control(self, opcode: int, length: int) -> Breach | None:
        self._control += 1.0
        if length > self._max_message:  # over 125 is wrong, but the parser says so only when all of it has come
            return self._end(CLOSE_TOO_BIG, f"a frame has at most {self._max_message} bytes", "too_big")
        if self._control > self._control_burst:
            return self._end(CLOSE_POLICY, f"more than {self._control_rate:g} control frames a second", "control")
        self._deaf = opcode == CLOSE
        return None

    def _end(self, code: int, reason: str, kind: str) -> Breach:
        self._deaf = True
        return Breach(code, reason, kind)
