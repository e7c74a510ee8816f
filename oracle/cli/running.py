"""What surrounds a running node: its log, its metrics, and the signals that end it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

import typer

from oracle.cli.settings import Settings
from oracle.jobs.errors import QscrowError

if TYPE_CHECKING:
    from oracle.node.logs import Redactor
    from oracle.node.loop import Loop
    from oracle.node.watch import Watch

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def watched(settings: Settings, show: Callable[[int, Any, str], None]) -> Iterator[tuple[Watch, Redactor]]:
    """The node's watch, with its log being written and its metrics served until the block ends.

    Yields the redactor as well, for secrets that are read later. Raises :class:`~oracle.jobs.errors.InputError` if the
    log file or the port cannot be used.
    """
    from oracle.node.logs import event, writing
    from oracle.node.watch import Watch

    with writing(format=settings.log_format, level=settings.log_level, file=settings.log_file) as redactor:
        _learn(redactor, settings)
        watch = Watch(settings.node, show=show)
        try:
            with watch.serving():
                yield watch, redactor
        except QscrowError as err:
            if settings.log_file or settings.log_format == "json":  # else the one line on stderr says it
                event("the node ends", "error", error=str(err))
            if settings.log_file is None and settings.log_format == "json":
                raise typer.Exit(err.exit_code) from err  # whoever reads the log there gets JSON and nothing else
            raise
        except Exception as err:
            event("the node ends", "error", exception=err)
            raise


def run_until_told(node: Loop, watch: Watch, **facts: Any) -> None:
    """Run ``node``; the first SIGINT or SIGTERM lets it finish what it is in. ``facts`` are logged at its start.

    The second one has the system's own effect: the process is gone at once, which the journal is made for.
    """
    from oracle.node.logs import event

    told: SimpleQueue[int | None] = SimpleQueue()  # may be put into by a signal handler, as little else may

    def hear(number: int, _: Any) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_DFL)
        told.put(number)

    def pass_on() -> None:
        if number := told.get():
            event("draining", signal=signal.Signals(number).name, seconds=watch.config.drain_seconds)
            watch.health.drain()
            node.stop()

    for each in _ENDING:
        signal.signal(each, hear)
    listener = Thread(target=pass_on, name="signals", daemon=True)
    listener.start()
    event("started", **facts)  # only now: whoever reads it may send a signal
    try:
        node.run()
    finally:
        told.put(None)
        listener.join()


def _learn(redactor: Redactor, settings: Settings) -> None:
    """Everything secret in the settings; what URLs hold besides their hosts is taken for secret."""
    for url in (*settings.rpc, *settings.kubo_api, *settings.gateways, settings.signer_url):
        if url and not url.startswith("/"):
            redactor.learn_url(url)
    if settings.kubo_authorization:
        redactor.learn_authorization(settings.kubo_authorization)
    for path in settings.kubo_authorization_files:
        if path is not None and path.is_file():
            redactor.learn_authorization(path.read_text(errors="replace").strip())
