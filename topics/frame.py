"""Bytes as one unmasked, unfragmented WebSocket frame (RFC 6455, 5.2). The same bytes serve every client.

Written here because a library's frame belongs to one connection's state; this one is made once and shared.
"""

import struct

TEXT, CLOSE, PING = 1, 8, 9


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    first, size = 0x80 | opcode, len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """``reason`` in at most 123 bytes of UTF-8, cut between letters: half a letter is a protocol error."""
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return frame(struct.pack("!H", code) + text, CLOSE)
