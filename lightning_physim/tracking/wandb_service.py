"""The process in which wandb's client does its work."""

from threading import Timer

SERVICE_TIMEOUT = 20.0
"""Seconds that wandb's service has to end. It was seen to close its connection, and to run on until it was killed."""


def end_service(timeout: float = SERVICE_TIMEOUT) -> None:
    """End every wandb run of this process, as ``wandb.teardown()`` does, which waits for the service without end.

    Args:
        timeout: seconds after which the service is killed. What it has not sent yet stays in the run's files.
    """
    import wandb
    from wandb.sdk import wandb_setup

    session = wandb_setup._singleton
    connection = session._connection if session else None
    service = connection._proc if connection else None

    def kill() -> None:
        if service:  # not where nothing runs, nor where another process has started it
            service._process.kill()

    killer = Timer(timeout, kill)
    killer.daemon = True
    killer.start()
    try:
        wandb.teardown()
    except SystemExit:
        pass  # what it raises where the service has not ended well, and training goes on
    finally:
        killer.cancel()
