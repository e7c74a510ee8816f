"""What a node keeps and for how long, and the gateway that hands it out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from oracle.content.cid import CID
from oracle.content.gateway import GatewayLimits, GatewayServer
from oracle.content.mirrors import CachedStore, Mirrors
from oracle.content.select import open_node_store, open_store
from oracle.content.store import BlockStore, ContentStore
from oracle.jobs.errors import ContentError, ContentUnavailable, InputError, JournalError, QscrowError
from oracle.jobs.spec import MAX_SPEC_BYTES, parse_spec
from oracle.node.config import NodeConfig
from oracle.node.journal import PRUNED_AT_ONCE, Journal
from oracle.node.logs import event


def open_node_content(root: Path, env: Mapping[str, str], config: NodeConfig) -> ContentStore:
    """The store for a node with this configuration; ``root`` and ``env`` as for :func:`open_store`."""
    if config.gateway_port is None:
        return open_store(root, env, max_bytes=config.content_max_bytes)
    return open_node_store(root, env, max_bytes=config.content_max_bytes, upload_quota=config.upload_quota_bytes)


def in_the_log(problem: str) -> None:
    """Complain where an operator looks."""
    event("content trouble", "warning", error=problem)


@contextmanager
def tended_content(
    journal: Journal, store: ContentStore, config: NodeConfig, *, complain: Callable[[str], None] = in_the_log
) -> Iterator[str | None]:
    """Tidy ``store`` once per interval while the block runs, and serve it if ``config.gateway_port`` is set.

    Yields the gateway's URL, if there is one. ``complain`` hears what went wrong; it is tried again at the next
    interval. Raises :class:`InputError` if the port cannot be had.
    """
    keeper = Keeper(journal, store, config)
    with ExitStack() as stack:
        stack.enter_context(keeper.tidying(complain))
        server = keeper.gateway(complain)
        yield stack.enter_context(server).url if server is not None else None


class Keeper:
    """Knows what live jobs need, drops what nobody needs, and makes good what other places missed."""

    def __init__(self, journal: Journal, store: ContentStore, config: NodeConfig):
        self._journal = journal
        self._store = store
        self._config = config
        self._local, self._uploads, self._mirrors = _parts(store)
        self._circuits: dict[CID, CID | None] = {}
        self._stop = threading.Event()

    @contextmanager
    def needed(self) -> Iterator[set[CID]]:
        """What the jobs that are not closed need: specs, circuits, and the sealed results of
        others, too, until they are released; here and in the journals beside: see :meth:`Journal.needs`.

        Raises :class:`ContentUnavailable` if a journal cannot be read, and once the node stops, so that a collection
        ends.
        """
        if self._stop.is_set():
            raise ContentUnavailable("the node is stopping", field="content")
        try:
            with self._journal.needs() as needs:
                self._circuits = {spec: self._circuits.get(spec) or self._circuit_in(spec) for spec in needs.specs}
                yield needs.specs | {cid for cid in self._circuits.values() if cid is not None} | needs.results
        except JournalError as err:
            why = f"nothing is dropped, because a journal {err.message}"
            raise ContentUnavailable(why, field=err.field, remedy=err.remedy) from err

    def release(self) -> None:
        """Let go of jobs that are closed for longer than the retention: unpin their results, shrink their rows.

        Raises :class:`QscrowError`.
        """
        before = time.time() - self._config.retention_seconds
        old = self._journal.releasable(before)
        for cid in old:
            self._store.unpin(cid)
        self._journal.release(old)
        while self._journal.prune(before) == PRUNED_AT_ONCE:
            pass

    def collect(self) -> None:
        """Drop what is old and neither pinned nor needed, here and among the uploads. Raises :class:`QscrowError`."""
        for store in (self._local, self._uploads):
            if store is not None:
                store.collect(self.needed, self._config.upload_age_seconds)

    def retry(self) -> None:
        """Give other places the uploads they missed."""
        if self._mirrors is not None:
            self._mirrors.retry()

    @contextmanager
    def tidying(self, complain: Callable[[str], None]) -> Iterator[None]:
        """Do all of this once per interval, in a thread of its own, while the block runs."""
        thread = threading.Thread(target=self._tidy_on, args=(complain,), name="content", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join(self._config.drain_seconds)  # a slow mirror must not hold the node up

    def gateway(self, complain: Callable[[str], None]) -> GatewayServer | None:
        """The gateway, not yet started, if a port is configured. Raises :class:`InputError` if it cannot be had."""
        if self._config.gateway_port is None:
            return None
        if self._local is None:
            raise InputError("needs the embedded store", field="content.gateway_port", remedy="open one for the node")
        return GatewayServer(
            self._local,
            self._config.gateway_host,
            self._config.gateway_port,
            GatewayLimits(upload_age_seconds=self._config.upload_age_seconds),
            uploads=self._uploads,
            needed=self.needed,
            complain=complain,
        )

    def _tidy_on(self, complain: Callable[[str], None]) -> None:
        while not self._stop.wait(self._config.collect_seconds):
            for task in (self.retry, self.release, self.collect):
                try:
                    task()
                except QscrowError as err:
                    if not self._stop.is_set():
                        complain(str(err))

    def _circuit_in(self, spec: CID) -> CID | None:
        """The circuit that a spec names; ``None`` if the spec is not here or is none, and then no circuit runs."""
        for store in (self._local, self._uploads):
            if store is not None:
                with suppress(ContentError, InputError):
                    return CID.parse(parse_spec(store.get(spec, max_bytes=MAX_SPEC_BYTES))["quantum"]["circuit"])
        return None


def _parts(store: ContentStore) -> tuple[BlockStore | None, BlockStore | None, Mirrors | None]:
    """What of a store is on this machine, what strangers left there, and what is elsewhere."""
    if isinstance(store, CachedStore):
        return store.local, store.uploads, store.mirrors
    return (
        store if isinstance(store, BlockStore) else None,
        None,
        store if isinstance(store, Mirrors) else None,
    )
