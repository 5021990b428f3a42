"""The gateway's command, but its workers are looked after more often: ``python -m tests.system.hasty serve``."""

from gateway import cli, siblings, workers

workers.LOOK_EVERY, workers.LOOKS, siblings.PATIENCE = 0.5, 5, 0.2

if __name__ == "__main__":
    cli.main()
