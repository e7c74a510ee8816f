"""How fast a new node catches up: events a second from the chain into the journal, on a chain with many past jobs.

Goal (DESIGN §12): 2 000 events/s. ``python benchmarks/backfill.py [JOBS]``; the issue's 100 000 jobs take anvil a few
minutes to create.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

from bench import World, ghz, publish, spread, world

JOBS, ROUNDS = 20_000, 3


def main() -> None:
    """Create the jobs, then read them into a new journal, several times."""
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else JOBS
    with world() as place:
        circuit = ghz(3)
        place.submit(jobs, lambda _: circuit)
        rates = [jobs / caught_up(place, round_) for round_ in range(ROUNDS)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    publish("backfill", {"jobs": jobs, "events_per_second": spread(rates, 0), "peak_rss_mib": peak})


def caught_up(place: World, round_: int) -> float:
    """Seconds until a new journal knows every job."""
    from oracle.node.config import NodeConfig
    from oracle.node.ingest import Ingest

    with opened_journal(place, f"backfill-{round_}.db") as journal:
        ingest = Ingest(place.chain, journal, place.operator.address, NodeConfig(confirmations=0))
        started = time.perf_counter()
        found = ingest.run_once()
        seconds = time.perf_counter() - started
        if found != place.chain.escrow.job_count():
            sys.exit(f"found {found} jobs")
    return seconds


def opened_journal(place: World, name: str) -> Any:
    """A journal in the scratch folder, closed in the end."""
    from contextlib import closing

    from oracle.node.journal import Journal

    identity = {"chain_id": place.chain.chain_id, "escrow": place.chain.escrow.address}
    return closing(Journal(place.folder / name, oracle=place.operator.address, **identity))


if __name__ == "__main__":
    main()
