"""Our blocks, CIDs and archives against the JavaScript implementation of IPFS. Run by ``make js-ipfs``."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from oracle.content.car import car_parts, export_car, import_car
from oracle.content.cid import CID, DAG_PB, RAW
from oracle.content.dag import PROFILES, Profile, import_file
from oracle.content.gateway import GatewayLimits, GatewayServer
from oracle.content.kubo import CLIENTS, KuboStore
from oracle.content.store import BlockStore
from oracle.content.walk import blocks_under, read_file
from oracle.jobs.errors import ContentUnavailable

HERE = Path(__file__).parent
PACKAGES = HERE.parents[1] / "build" / "js-ipfs"
LIMIT = 2**27
SIZES = {
    "unixfs-v1-2025": [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 5 * 2**20 + 7],
    "kubo-v1-256k": [0, 1, 2**18, 2**18 + 1, 174 * 2**18, 174 * 2**18 + 1],
    "unixfs-v0-2015": [0, 1, 2**18, 2**18 + 1, 174 * 2**18, 174 * 2**18 + 1],
}


@dataclass
class Peer:
    """The program ``peer.mjs``, in the folder whose packages it finds."""

    program: Path

    def ask(self, command: str, cases: list[dict]) -> list[dict]:
        """One answer for each case."""
        request = json.dumps({"command": command, "cases": cases}).encode()
        done = subprocess.run(["node", str(self.program)], input=request, capture_output=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def cut(self, files: list[Path], profile: Profile, cars: list[Path] | None = None) -> list[dict]:
        """The root and the CIDs of all blocks of every file, and with ``cars`` its archive."""
        options = {"chunk": profile.chunk, "width": profile.width, "rawLeaves": profile.raw_leaves}
        options["cidVersion"] = profile.cid_version
        named = [{"car": str(car)} for car in cars] if cars else [{}] * len(files)
        return self.ask("cut", [{"file": str(file), **options, **car} for file, car in zip(files, named, strict=True)])


@pytest.fixture(scope="session")
def peer():
    assert (PACKAGES / "node_modules").is_dir(), "run `make js-ipfs`, which installs what this compares with"
    for program in HERE.glob("*.mjs"):
        shutil.copy(program, PACKAGES)  # packages are looked for where the program lies
    return Peer(PACKAGES / "peer.mjs")


def files_of(folder: Path, sizes: list[int]) -> list[Path]:
    """Files of these sizes with bytes that never repeat."""
    files = []
    for number, size in enumerate(sizes):
        files.append(folder / f"{number}-{size}")
        files[-1].write_bytes(random.Random(size).randbytes(size))
    return files


def cut_here(file: Path, profile: Profile) -> dict:
    """What :meth:`Peer.cut` answers, from our own code."""
    blocks: dict[CID, bytes] = {}
    cid = import_file(file.read_bytes(), blocks.__setitem__, profile)
    return {"cid": str(cid), "blocks": sorted(map(str, blocks))}


@pytest.mark.parametrize("name", PROFILES)
def test_import_file__every_profile__cuts_the_same_blocks(peer, tmp_path, name):
    files = files_of(tmp_path, SIZES[name])

    assert [cut_here(file, PROFILES[name]) for file in files] == peer.cut(files, PROFILES[name])


@pytest.mark.parametrize("raw_leaves", [True, False])
@pytest.mark.parametrize("width", [2, 3, 7])
def test_import_file__deep_trees__cuts_the_same_blocks(peer, tmp_path, width, raw_leaves):
    profile = Profile(1, raw_leaves, 5, width)
    files = files_of(tmp_path, [1, *range(4, 180, 7), 5 * width**3, 5 * width**3 + 1])

    assert [cut_here(file, profile) for file in files] == peer.cut(files, profile)


def test_export_car__read_in_javascript__is_the_file(peer, tmp_path):
    files, store = files_of(tmp_path, SIZES["unixfs-v1-2025"]), BlockStore(tmp_path / "store")
    roots = [store.put(file.read_bytes()) for file in files]
    for file, root in zip(files, roots, strict=True):
        with file.with_suffix(".car").open("wb") as out:
            export_car(store, root, out)

    answers = peer.ask(
        "join", [{"car": str(file.with_suffix(".car")), "out": str(file.with_suffix(".out"))} for file in files]
    )

    for file, root, answer in zip(files, roots, answers, strict=True):
        assert answer["cid"] == str(root)
        assert answer["blocks"] == [str(cid) for cid, _ in blocks_under(store.get_block, root)]
        assert file.with_suffix(".out").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("name", PROFILES)
def test_import_car__written_in_javascript__is_the_file(peer, tmp_path, name):
    files, store = files_of(tmp_path, SIZES[name][:4]), BlockStore(tmp_path / "store")
    cars = [file.with_suffix(".car") for file in files]

    answers = peer.cut(files, PROFILES[name], cars)

    for file, car, answer in zip(files, cars, answers, strict=True):
        with car.open("rb") as archive:
            root = import_car(store, archive, max_bytes=LIMIT)
        assert root == CID.parse(answer["cid"])
        assert read_file(store.get_block, root, LIMIT) == file.read_bytes()


def test_gateway__fetched_in_javascript__is_the_file(peer, tmp_path):
    files, store = files_of(tmp_path, SIZES["unixfs-v1-2025"]), BlockStore(tmp_path / "store")
    roots = [store.put(file.read_bytes()) for file in files]
    with GatewayServer(store, limits=GatewayLimits()) as server:
        urls = [f"{server.url}/ipfs/{root}?format=car" for root in roots]
        answers = peer.ask(
            "join", [{"url": url, "out": str(file) + ".out"} for url, file in zip(urls, files, strict=True)]
        )

    assert [answer["cid"] for answer in answers] == list(map(str, roots))
    assert all(Path(f"{file}.out").read_bytes() == file.read_bytes() for file in files)


def test_join__archive_with_a_wrong_block__is_refused_there_too(peer, tmp_path):
    wrong = tmp_path / "wrong.car"
    wrong.write_bytes(b"".join(car_parts([CID.of(b"right")], [(CID.of(b"right"), b"wrong")])))

    with pytest.raises(AssertionError, match="has other bytes"):
        peer.ask("join", [{"car": str(wrong), "out": str(tmp_path / "out")}])


def test_cid__any_digest__is_spelled_the_same(peer):
    digests = [os.urandom(32) for _ in range(200)] + [bytes(32), b"\xff" * 32, bytes(31) + b"\x01"]

    answers = peer.ask("spell", [{"digest": digest.hex()} for digest in digests])

    for digest, answer in zip(digests, answers, strict=True):
        cids = {"v0": CID(0, DAG_PB, digest), "dagPb": CID(1, DAG_PB, digest), "raw": CID(1, RAW, digest)}
        assert {name: str(cid) for name, cid in cids.items()} == answer
        assert {name: CID.parse(text) for name, text in answer.items()} == cids


def test_profiles__all_of_them__are_compared():
    assert set(SIZES) == set(PROFILES)


# ------------------------------------------------------------------------------------------------- its RPC


@pytest.fixture(scope="module")
def daemon(peer, tmp_path_factory):
    """URL of a js-ipfs node, a file that was added to it there, and the CID it has."""
    folder = tmp_path_factory.mktemp("daemon")
    (file,) = files_of(folder, [300_000])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["node", str(PACKAGES / "daemon.mjs"), str(folder / "repo"), str(port), str(file)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        cid = CID.parse(process.stdout.readline().strip())
        yield f"http://127.0.0.1:{port}", file.read_bytes(), cid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("client", CLIENTS)
def test_kubo_store__on_js_ipfs__stores_pins_and_reads(daemon, client):
    store = KuboStore(daemon[0], client=client)

    for data in (b"", client.encode(), os.urandom(1_000_000)):  # js-ipfs takes requests of up to 1 MiB
        cid = store.put(data)
        assert store.get(cid, max_bytes=2**20) == data
        assert store.has(cid) and cid in store.pins()
        store.unpin(cid)
        store.unpin(cid)
        assert cid not in store.pins()


@pytest.mark.parametrize("client", CLIENTS)
def test_kubo_store__on_js_ipfs__reads_what_was_added_there(daemon, client):
    url, data, cid = daemon

    assert KuboStore(url, client=client).get(cid, max_bytes=2**20) == data


def test_kubo_store__on_js_ipfs__file_of_several_blocks_is_refused_and_said_so(daemon):
    """js-ipfs does not know the name that every version of Kubo has for dag-pb in `block/put`."""
    with pytest.raises(ContentUnavailable, match="No codec found"):
        import_file(b"two blocks", KuboStore(daemon[0]).put_block, Profile(1, True, 5, 2))
