"""A box for all tests, and one account and backend that talk to it through the unmodified client."""

from __future__ import annotations

import itertools

import pytest

from oracle.backends.ibm.account import Account
from oracle.backends.ibm.adapter import IbmBackend
from oracle.backends.ibm.box import Box
from oracle.backends.ibm.notes import Notes

PAUSES = (0.02, 0.1)
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def box():
    with Box(seed=11) as box:
        yield box


@pytest.fixture(autouse=True)
def calm(box):
    """Whatever a test told the box to do is over with it."""
    yield
    box.calm()


@pytest.fixture(scope="session")
def token_file(box, tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / "ibm-token"
    path.touch(mode=0o600)
    path.write_text(box.token + "\n")
    return path


@pytest.fixture(scope="session")
def open_account(box, token_file):
    """Opens accounts, in an environment that knows a secret of somebody else's and something about the network."""
    opened = []
    environment = pytest.MonkeyPatch()
    environment.setenv("QISKIT_IBM_TOKEN", "a-token-for-somebody-else")
    environment.setenv("NO_PROXY", "127.0.0.1")

    def open_(**changes):
        account = Account(**{"token_file": token_file, "instance": box.instance, "url": box.url, **changes})
        opened.append(account)
        return account

    yield open_
    environment.undo()
    for account in opened:
        account.close()


@pytest.fixture(scope="session")
def account(open_account):
    return open_account()


@pytest.fixture(scope="session")
def open_backend():
    opened = []

    def open_(account, folder, name="box_manila", **changes):
        backend = IbmBackend(account, name, Notes(folder), **{"pauses": PAUSES, **changes})
        opened.append(backend)
        return backend

    yield open_
    for backend in opened:
        backend.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notes")


@pytest.fixture(scope="session")
def backend(account, open_backend, folder):
    return open_backend(account, folder)


@pytest.fixture
def tag():
    """The intent of one job, as the pipeline names it."""
    return f"31337:0x5fbdb2315678afecb367f032d93f642f64180aa3:{next(_numbers)}"
