"""Frames as bytes, cut into reads in every way; the model knows what was sent and reads no bytes."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from gateway.meter import Breach, FrameMeter

CONT, TEXT, BINARY, CLOSE, PING, PONG = Opcode
EMPTY_TEXT, EMPTY_CONT, EMPTY_PING = b"\x81\x80mask", b"\x00\x80mask", b"\x89\x80mask"
ONE_TB = 2**40


class Clock:
    """Stands still until a test moves it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def masked(opcode: Opcode, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=True)


def header(opcode: int, length: int, *, fin: bool = True) -> bytes:
    """A frame's start, its mask included, that declares ``length`` bytes and brings none."""
    first = (0x80 if fin else 0) | opcode
    if length < 126:
        return struct.pack("!BB", first, 0x80 | length) + b"mask"
    if length < 65_536:
        return struct.pack("!BBH", first, 0x80 | 126, length) + b"mask"
    return struct.pack("!BBQ", first, 0x80 | 127, length) + b"mask"


def meter(clock: Clock | None = None, *, max_message: int = 65_536) -> FrameMeter:
    return FrameMeter(clock or Clock(), max_message=max_message)


def kind(breach: Breach | None) -> tuple[int, str] | None:
    return breach and (breach.code, breach.kind)


FRAGMENTED = masked(TEXT, fin=False) + EMPTY_CONT * 255

VERDICTS = {
    "nothing": (b"", None),
    "a command": (masked(TEXT, b'{"op":"ping"}'), None),
    "a message of the full length": (masked(TEXT, b"x" * 65_536), None),
    "one byte more, declared": (header(TEXT, 65_537), (1009, "too_big")),
    "a terabyte, declared": (header(BINARY, ONE_TB), (1009, "too_big")),
    "all that a header can declare": (header(TEXT, 2**64 - 1), (1009, "too_big")),
    "a terabyte in a ping": (header(PING, ONE_TB), (1009, "too_big")),
    "the full length in two fragments": (
        masked(TEXT, b"x" * 40_000, fin=False) + masked(CONT, b"x" * 25_536),
        None,
    ),
    "one byte more in two fragments": (
        masked(TEXT, b"x" * 40_000, fin=False) + header(CONT, 25_537),
        (1009, "too_big"),
    ),
    "the same with a ping between": (
        masked(TEXT, b"x" * 40_000, fin=False) + masked(PING) + header(CONT, 25_537),
        (1009, "too_big"),
    ),
    "two messages that are too big together": (header(TEXT, 40_000) + b"x" * 40_000 + header(TEXT, 40_000), None),
    "256 fragments": (FRAGMENTED, None),
    "257 fragments": (FRAGMENTED + EMPTY_CONT, (1009, "fragments")),
    "256 fragments twice": (FRAGMENTED * 2, None),
    "64 pings": (EMPTY_PING * 64, None),
    "65 pings": (EMPTY_PING * 65, (1008, "control")),
    "65 pongs": (masked(PONG, b"x" * 125) * 65, (1008, "control")),
    "64 pings and a close": (EMPTY_PING * 64 + masked(CLOSE), (1008, "control")),
    "1,000 empty messages": (EMPTY_TEXT * 1_000, None),
    "1,001 empty messages": (EMPTY_TEXT * 1_001, (1008, "data")),
    "anything after a close": (masked(CLOSE, Close(1000, "").serialize()) + header(TEXT, ONE_TB), None),
    "anything after an unknown opcode": (header(0x3, 5) + header(TEXT, ONE_TB), None),
    "anything after a reserved control opcode": (header(0xB, 5) + header(TEXT, ONE_TB), None),
    "anything after a missing mask": (b"\x81\x01x" + header(TEXT, ONE_TB), None),
    "reserved bits": (b"\xf1\x80mask" + header(TEXT, ONE_TB), (1009, "too_big")),
    "continuations of nothing": (EMPTY_CONT * 257, (1009, "fragments")),
    "half a header": (b"\x81", None),
    "a header without its length": (b"\x81\xff\0\0\0\1", None),
}


@pytest.mark.parametrize(("data", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_a_client_is_judged_by_the_headers_of_its_frames(data: bytes, verdict: tuple[int, str] | None) -> None:
    assert kind(meter().feed(data)) == verdict


@pytest.mark.parametrize(("data", "verdict"), VERDICTS.values(), ids=VERDICTS)
def test_bytes_that_come_one_by_one_are_judged_alike(data: bytes, verdict: tuple[int, str] | None) -> None:
    one = meter()

    breaches = [breach for byte in data if (breach := one.feed(bytes([byte])))]

    assert kind(breaches[0] if breaches else None) == verdict


def test_a_breach_is_known_before_the_mask_has_come() -> None:
    assert kind(meter().feed(header(TEXT, ONE_TB)[:10])) == (1009, "too_big")


def test_nothing_of_a_payload_is_kept() -> None:
    one = meter()

    one.feed(header(TEXT, 60_000) + b"x" * 30_000)

    assert (one._head, one._skip) == (b"", 30_000)


def test_a_client_stays_in_breach_whatever_it_sends_next() -> None:
    one = meter()
    breach = one.feed(header(TEXT, ONE_TB))

    assert breach is not None
    assert one.feed(masked(TEXT, b"sorry")) is breach


def test_a_reason_fits_into_a_close_frame_and_names_the_bound() -> None:
    breaches = [meter().feed(data) for data, verdict in VERDICTS.values() if verdict]

    for breach in breaches:
        assert breach is not None
        Close(breach.code, breach.reason).check()
        assert len(breach.reason.encode()) <= 123
    assert meter().feed(header(TEXT, ONE_TB)) == Breach(1009, "a message has at most 65536 bytes", "too_big")


@pytest.mark.parametrize(("frame", "burst", "rate"), [(EMPTY_PING, 64, 10), (EMPTY_TEXT, 1_000, 500)])
def test_a_client_may_go_on_at_the_rate_after_the_burst_and_no_faster(frame: bytes, burst: int, rate: int) -> None:
    clock = Clock()
    one = meter(clock)
    assert one.feed(frame * burst) is None

    for _ in range(3):
        clock.now += 1.0
        assert one.feed(frame * rate) is None
    clock.now += 0.5

    assert one.feed(frame * (rate // 2)) is None
    assert one.feed(frame) is not None


@pytest.mark.parametrize(("frame", "burst"), [(EMPTY_PING, 64), (EMPTY_TEXT, 1_000)])
def test_a_client_that_was_silent_for_long_has_one_burst_and_not_two(frame: bytes, burst: int) -> None:
    clock = Clock()
    one = meter(clock)
    clock.now = 1_000_000.0

    assert one.feed(frame * burst) is None
    assert one.feed(frame) is not None


def test_pings_and_messages_are_counted_apart() -> None:
    assert meter().feed(EMPTY_PING * 64 + EMPTY_TEXT * 1_000) is None


@pytest.mark.parametrize(
    "bad",
    [header(0x3, 0), header(0xF, 0), b"\x81\x01x", masked(CLOSE)],
    ids=["unknown data", "unknown control", "unmasked", "after a close"],
)
def test_where_the_meter_goes_deaf_the_parser_reads_no_further_either(bad: bytes) -> None:
    parser = ServerProtocol(state=State.OPEN)
    one = meter()
    parser.receive_data(bad)
    parser.events_received()

    one.feed(bad)
    parser.receive_data(masked(TEXT, b"unheard"))

    assert (one._deaf, parser.events_received()) == (True, [])


# -- any cutting, against a model --------------------------------------------------------------------------------------

BOUNDS = {
    "max_message": 200,
    "max_fragments": 4,
    "control_burst": 3,
    "control_rate": 2,
    "data_burst": 8,
    "data_rate": 4,
}
DEAF = "deaf"


@dataclass(frozen=True)
class Sent:
    """A frame as a client meant it, right or wrong."""

    opcode: int
    length: int
    fin: bool = True
    mask: bool = True
    reserved: int = 0
    wide: int = 0  # bytes of the extended length, if more than are needed

    @property
    def extended(self) -> int:
        needed = 0 if self.length < 126 else 2 if self.length < 65_536 else 8
        return max(needed, self.wide)

    def header(self) -> bytes:
        first = (0x80 if self.fin else 0) | self.reserved << 4 | self.opcode
        short = {0: self.length, 2: 126, 8: 127}[self.extended]
        return bytes([first, (0x80 if self.mask else 0) | short]) + (
            self.length.to_bytes(self.extended, "big") if self.extended else b""
        )

    def wire(self) -> bytes:
        # A payload that would pass for headers, if one were read at the wrong place.
        return self.header() + (b"mask" if self.mask else b"") + (b"\x89\x80" * 200)[: self.length]


class Model:
    """What is allowed, told frame by frame: plain lists and a bucket that is filled anew."""

    def __init__(self) -> None:
        self.message: list[int] = []
        self.tokens = {"control": BOUNDS["control_burst"] * 1.0, "data": BOUNDS["data_burst"] * 1.0}
        self.at = 0.0

    def verdict(self, sent: Sent, at: float) -> str | None:
        if not sent.mask or sent.opcode not in set(Opcode):
            return DEAF
        for bucket, tokens in self.tokens.items():
            filled = tokens + (at - self.at) * BOUNDS[f"{bucket}_rate"]
            self.tokens[bucket] = min(filled, BOUNDS[f"{bucket}_burst"])
        self.at = at
        bucket = "control" if sent.opcode in (CLOSE, PING, PONG) else "data"
        self.tokens[bucket] -= 1
        size = sent.length
        if bucket == "data":
            self.message = [*(self.message if sent.opcode == CONT else []), sent.length]
            size = sum(self.message)
        if size > BOUNDS["max_message"]:
            return "too_big"
        if bucket == "data" and len(self.message) > BOUNDS["max_fragments"]:
            return "fragments"
        if self.tokens[bucket] < 0:
            return bucket
        return DEAF if sent.opcode == CLOSE else None


FRAMES = st.lists(
    st.builds(
        Sent,
        # Mostly what a client may send, or few streams would come far.
        opcode=st.sampled_from([TEXT, BINARY, CONT, CONT, PING, PONG] * 4 + [CLOSE, 0x3, 0xB]),
        length=st.one_of(st.integers(0, 30), st.sampled_from([0, 100, 125, 126, 200, 201, 65_535, 65_536, ONE_TB])),
        fin=st.booleans(),
        mask=st.sampled_from([True] * 30 + [False]),
        reserved=st.sampled_from([0] * 10 + [4]),
        wide=st.sampled_from([0, 0, 0, 2, 8]),
    ),
    max_size=25,
)


@settings(max_examples=1_000)
@given(
    frames=FRAMES,
    cuts=st.lists(st.integers(0, 400), max_size=30),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.25, 0.5, 2.0]), max_size=30),
)
@example(frames=[Sent(TEXT, 0)] * 9, cuts=[], pauses=[])
@example(frames=[Sent(PING, 0)] * 4, cuts=[6, 12, 18, 20], pauses=[0.0] * 5)
@example(frames=[Sent(TEXT, 60, fin=False), Sent(CONT, 125), Sent(CONT, 126)], cuts=[1, 67, 200], pauses=[])
def test_however_a_stream_is_cut_the_verdict_comes_with_the_read_that_completes_the_header(
    frames: Sequence[Sent], cuts: list[int], pauses: list[float]
) -> None:
    data = b"".join(sent.wire() for sent in frames)
    reads = list(reads_of(data, cuts, pauses))
    clock = Clock()
    one = FrameMeter(clock, **BOUNDS)

    seen = None
    for number, (clock.now, _, part) in enumerate(reads):
        breach = one.feed(part)
        if breach is not None:
            seen = (breach.kind, number)
            break

    assert seen == expected(frames, reads)


Read = tuple[float, int, bytes]  # when, up to which offset, the bytes


def reads_of(data: bytes, cuts: list[int], pauses: list[float]) -> Iterator[Read]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    at = 0.0
    for number, (start, end) in enumerate(pairwise(edges)):
        at += pauses[number] if number < len(pauses) else 0.0
        yield at, end, data[start:end]


def expected(frames: Sequence[Sent], reads: Sequence[Read]) -> tuple[str, int] | None:
    model, offset = Model(), 0
    for sent in frames:
        known = offset + len(sent.header())  # the offset at which a reader knows the header
        number = next(index for index, (_, end, _) in enumerate(reads) if end >= known)
        verdict = model.verdict(sent, reads[number][0])
        if verdict == DEAF:
            return None
        if verdict is not None:
            return verdict, number
        offset += len(sent.wire())
    return None


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_rubbish_is_survived(reads: list[bytes]) -> None:
    one = meter()

    for data in reads:
        one.feed(data)
