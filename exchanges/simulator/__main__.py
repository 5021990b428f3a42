"""``python -m exchanges.simulator --port 0``: the simulator by itself; prints its URL as its first line."""

import argparse
import asyncio

from .server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="exchanges.simulator", description="Simulated venues on one local port.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.host, arguments.port, arguments.seed))


main()
