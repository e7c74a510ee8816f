"""Worlds to break; a failing test shows what its world looked like."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.ibm import Ibm
from harness.nodes import NodeServer
from harness.world import Keys, World

LONG = os.environ.get("QSCROW_CHAOS") == "long"


@pytest.fixture(scope="session")
def server():
    """The process that forks the nodes of this session."""
    made = NodeServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Accounts and sealing keys, made once."""
    return Keys(tmp_path_factory.mktemp("keys") / "home")


@pytest.fixture(scope="session")
def recorded_runs(tmp_path_factory, server, keys):
    """Counts that one node's sandbox made and the others take over."""
    runs = tmp_path_factory.mktemp("runs")
    world = World(tmp_path_factory.mktemp("first") / "world", server, keys, runs, scenario="the first run")
    try:
        job = world.submit()
        world.start()
        world.until(lambda: world.settled(job), "the first run")
    finally:
        world.close()
    return runs


@pytest.fixture(scope="session")
def ibm(tmp_path_factory):
    """Makes the one IBM of this session when it is first asked for."""
    made = []

    def get() -> Ibm:
        if not made:
            made.append(Ibm(tmp_path_factory.mktemp("ibm")))
        return made[0]

    yield get
    for each in made:
        each.close()


@pytest.fixture
def make_world(request, tmp_path, server, keys, recorded_runs, ibm):
    """Makes worlds, and ends them after the test."""
    worlds = []

    def make(**options) -> World:
        folder = tmp_path / f"world{len(worlds)}"
        worlds.append(World(folder, server, keys, recorded_runs, scenario=request.node.name, ibm=ibm, **options))
        return worlds[-1]

    request.node.worlds = worlds
    yield make
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world):
    """A world with one oracle."""
    return make_world()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Tell the story of the worlds of a test that failed, while they still exist."""
    report = yield
    if report.when == "call" and report.failed:
        for world in getattr(item, "worlds", []):
            report.sections.append(("world", world.story()))
    return report
