"""The echo that conformance suites run against: if it is wrong, so is what they say."""

from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect

from tests.system import processes
from tests.system.echo import MESSAGE_BYTES


@pytest.fixture(scope="module")
def echo_url() -> Iterator[str]:
    with processes.process("tests.system.echo", "--port", "0") as url:
        yield url.replace("http://", "ws://") + "/"


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, MESSAGE_BYTES])
@pytest.mark.parametrize("letter", ["x", b"x"], ids=["text", "binary"])
async def test_a_message_comes_back_as_it_was(echo_url: str, letter: str | bytes, size: int) -> None:
    async with connect(echo_url, compression=None, max_size=None, proxy=None) as client:
        await client.send(letter * size)
        assert await client.recv() == letter * size


async def test_fragments_come_back_as_one_message(echo_url: str) -> None:
    async with connect(echo_url, compression=None, proxy=None) as client:
        await client.send(["κό", "σ", "με"])
        assert [part async for part in client.recv_streaming()] == ["κόσμε"]
