"""A node that runs for long: whatever it holds must not grow with what it has done.

The short form is a few minutes' worth of jobs, the long one an hour's and more, in accelerated time.
"""

from __future__ import annotations

import random

from conftest import LONG
from harness.nodes import Usage
from harness.rpc_proxy import FAULTS

WARM_UP, WAVES, WAVE = (4, 30, 20) if LONG else (2, 4, 12)
SECONDS_PER_WAVE = 120  # of the chain's clock
MEBIBYTE = 2**20
# Faults that end with the next answer; the others would only make a soak longer.
GENTLE = ("error_503", "rate_limit_json", "reset", "null_results", "header_not_found", "send_unanswered")


def journal_bytes(world) -> int:
    """The journal with its write-ahead log."""
    path = world.journal_path()
    return sum(part.stat().st_size for part in path.parent.glob(f"{path.name}*"))


def wave(world, chance: random.Random, patience: float) -> None:
    """A dozen jobs and their end, with a little trouble and some time passing."""
    jobs = [world.submit(chance.choice(["plain", "open", "plain"]), final=False) for _ in range(WAVE)]
    world.proxy.misbehave(chance.choice(GENTLE))
    head = world.anvil.head() + 3
    world.until(lambda: world.anvil.head() >= head, "some blocks")
    world.proxy.misbehave()
    world.until(lambda: world.settled(*jobs), "the jobs of a wave", patience=patience)
    world.anvil.pass_time(SECONDS_PER_WAVE)


def test_soak__waves_of_jobs__nothing_grows(make_world):
    world = make_world(seed=5)
    assert set(GENTLE) <= set(FAULTS)
    chance = random.Random(world.seed)
    node = world.start()
    world.until(node.is_ready, "the node to be open")
    for _ in range(WARM_UP):
        wave(world, chance, 60)
    first, journal_before = Usage(node.pid), journal_bytes(world)
    seen = []
    for _ in range(WAVES):
        wave(world, chance, 60)
        seen.append(Usage(node.pid))

    last, jobs = seen[-1], WAVES * WAVE
    per_job = (journal_bytes(world) - journal_before) / jobs
    print(
        f"soak: {jobs} jobs in {last.at - first.at:.0f} s, {WAVES * SECONDS_PER_WAVE} s on chain; resident"
        f" {first.resident / MEBIBYTE:.1f} -> {last.resident / MEBIBYTE:.1f} MiB, files {first.files} -> {last.files},"
        f" threads {first.threads} -> {last.threads}, journal {per_job / 1024:.1f} KiB a job"
    )
    assert last.resident - first.resident < (16 if LONG else 8) * MEBIBYTE
    assert last.resident < 300 * MEBIBYTE
    assert last.files <= first.files + 3
    assert last.threads <= first.threads + 3
    assert per_job < 64 * 1024
    world.verdict(reverted=jobs)
