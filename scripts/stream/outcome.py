"""How a run ends. Imports nothing."""

FINISHED = 0  # the time is over, or the updates have come, or nobody reads the output any more
NOT_REACHED = 1  # there is nothing at the other end to begin with
REFUSED = 2  # asked for again it would be refused again; argparse ends with it too
INTERRUPTED = 130  # Ctrl-C, by the shell's custom
TERMINATED = 143


class Ended(Exception):
    """The stream is over and no try will mend it; ``str()`` is what to tell people."""

    status = NOT_REACHED


class NotReached(Ended):
    """Nobody answers, or somebody else does."""


class Refused(Ended):
    """Asked for again it would be refused again."""

    status = REFUSED
