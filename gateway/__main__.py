"""``python -m gateway``: the same as the ``market-gateway`` command."""

from gateway.cli import main

main()
