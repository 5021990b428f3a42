"""Bytes as one unmasked, unfragmented WebSocket frame (RFC 6455, 5.2). The same bytes serve every client.

Written here because a library's frame belongs to one connection's state; this one is made once and shared.
"""

import struct
import zlib
from collections.abc import Iterator

TEXT, CLOSE, PING = 1, 8, 9
WINDOW_BITS = 12  # of compressed frames; what we say in the handshake
WORTH_DEFLATING = 1024  # bytes of a frame from which on compressing saves more than it costs


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def deflated(whole: bytes) -> bytes:
    """A frame that ``frame`` made, compressed (RFC 7692) if it is worth it.

    Nothing is taken over from one message to the next, so the same bytes serve every client that negotiated it.
    """
    if len(whole) < WORTH_DEFLATING:
        return whole
    head = 4 if whole[1] == 126 else 10
    compressor = zlib.compressobj(1, zlib.DEFLATED, -WINDOW_BITS, 5)
    shrunk = compressor.compress(whole[head:]) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(shrunk[:-4], whole[0] & 0x0F | 0x40)


def close_frame(code: int, reason: str) -> bytes:
    """``reason`` in at most 123 bytes of UTF-8, cut between letters: half a letter is a protocol error."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return frame(struct.pack("!H", code) + text, CLOSE)


def unframed(frames: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each of the frames that ``frame`` made, for who must send them otherwise."""
    place = 0
    while place < len(frames):
        size, head = frames[place + 1], 2
        if size == 126:
            (size,), head = struct.unpack_from("!H", frames, place + 2), 4
        elif size == 127:
            (size,), head = struct.unpack_from("!Q", frames, place + 2), 10
        yield frames[place] & 0x0F, frames[place + head : place + head + size]
        place += head + size
