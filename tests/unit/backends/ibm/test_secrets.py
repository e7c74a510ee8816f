"""The token is where it has to be and nowhere else."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from oracle.backends.ibm.box import Box
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError

GHZ = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;'


def run(backend, tag, source=GHZ):
    return backend.result(backend.submit(RunRequest(source, "openqasm2", 100, 1, CircuitLimits()), tag), 60)


def holds(process: int, secret: str) -> bool:
    """Whether ``secret`` is anywhere in the memory of a process that can be written to."""
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            start, end = (int(each, 16) for each in span.split("-"))
            if not rights.startswith("rw") or "[v" in line:
                continue
            memory.seek(start)
            if secret.encode() in memory.read(end - start):
                return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_token__memory_of_processes__only_the_link_has_it(account, backend, box, tag):
    run(backend, tag)
    compiler = backend._known.compiler.process.pid
    link = account.process.pid

    assert holds(link, box.token)  # so the search finds what is there
    assert not holds(compiler, box.token)
    for process in (link, compiler):
        assert box.token.encode() not in Path(f"/proc/{process}/environ").read_bytes()
        assert box.token.encode() not in Path(f"/proc/{process}/cmdline").read_bytes()
    assert box.token not in os.environ.values()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_token__secrets_in_the_nodes_environment__reach_neither_process(account, backend, tag):
    assert os.environ["QISKIT_IBM_TOKEN"] == "a-token-for-somebody-else"
    run(backend, tag)

    environments = [
        Path(f"/proc/{process}/environ").read_bytes()
        for process in (account.process.pid, backend._known.compiler.process.pid)
    ]
    assert not any(b"somebody-else" in environment for environment in environments)
    assert [b"NO_PROXY=127.0.0.1" in environment for environment in environments] == [True, False]


def test_token__notes_results_and_logs__do_not_have_it(account, backend, box, tag, folder, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    result = run(backend, tag)

    texts = [path.read_text() for path in folder.iterdir()]
    assert texts
    told = capfd.readouterr()
    for text in (*texts, repr(asdict(result)), repr(account), caplog.text, told.out, told.err):
        assert box.token not in text
        assert "Bearer" not in text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 429])
def test_token__failing_requests__are_reported_without_it(backend, box, tag, status):
    box.inject("POST /jobs", status)

    with pytest.raises((BackendUnavailable, CircuitRejected)) as caught:
        run(backend, tag)

    assert box.token not in str(caught.value)


def test_token__echoed_by_the_service__is_cut_out(box, token_file, tmp_path, open_account):
    """IAM might say which key it did not know."""
    other = tmp_path / "token"
    other.touch(mode=0o600)
    with Box(["fake_manila"], token="the-right-one", echo_keys=True) as echoing:
        other.write_text("the-wrong-one")
        with pytest.raises(InputError) as caught:
            open_account(token_file=other, url=echoing.url).backends()

    assert "the-wrong-one" not in str(caught.value)
    assert caught.value.field == "execution.ibm_token_file"


def test_token_file__others_may_read_it__is_refused(box, tmp_path, open_account):
    path = tmp_path / "token"
    path.write_text(box.token)
    path.chmod(0o644)

    with pytest.raises(InputError, match="chmod 600"):
        open_account(token_file=path).backends()


@pytest.mark.parametrize("content", ["", "\n", "a\x00b"])
def test_token_file__no_token_in_it__is_refused(tmp_path, open_account, content):
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content)

    with pytest.raises(InputError, match="holds no token"):
        open_account(token_file=path).backends()


def test_token_file__missing_or_a_folder__is_refused(tmp_path, open_account):
    with pytest.raises(InputError, match="cannot be read"):
        open_account(token_file=tmp_path / "none").backends()
    with pytest.raises(InputError):
        open_account(token_file=tmp_path).backends()
