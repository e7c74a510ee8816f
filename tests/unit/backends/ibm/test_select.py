"""Opening what the settings name."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oracle.backends.ibm.result import NOISY, HardwareResult, run_result
from oracle.backends.ibm.select import open_ibm
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.run import RunRequest, RunResult
from oracle.jobs.errors import BackendUnavailable, CircuitRejected, InputError
from oracle.node.config import NodeConfig

BELL = b'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2]; h q[0]; cx q[0],q[1]; measure q -> c;'


@pytest.fixture
def settings(box, token_file):
    def settings(**changes):
        node = {
            "ibm_backends": "box_guadalupe, box_manila",
            "ibm_token_file": str(token_file),
            "ibm_instance": box.instance,
            "ibm_url": box.url,
        }
        return NodeConfig(**{**node, **changes})

    return settings


def test_open_ibm__no_backends_named__is_none(tmp_path):
    assert open_ibm(NodeConfig(), tmp_path) is None


def test_open_ibm__backends_named__are_opened_in_their_order(settings, tmp_path):
    provider = open_ibm(settings(ibm_max_execution_seconds=30), tmp_path)

    assert [backend.name for backend in provider.backends] == ["box_guadalupe", "box_manila"]
    assert provider.backends[0].capabilities().max_shots == 8192
    provider.close()


def test_open_ibm__backend_of_no_such_name__lists_those_there_are(settings, tmp_path):
    with pytest.raises(InputError, match="use some of box_guadalupe, box_manila"):
        open_ibm(settings(ibm_backends="ibm_fez"), tmp_path)


def test_open_ibm__instance_of_another_account__is_refused(settings, tmp_path, box):
    with pytest.raises(InputError, match="does not have access"):
        open_ibm(settings(ibm_instance=box.instance.replace("0000::", "0001::")), tmp_path)


def test_open_ibm__nobody_listens__is_transient(settings, tmp_path):
    with pytest.raises(BackendUnavailable):
        open_ibm(settings(ibm_url="http://127.0.0.1:9"), tmp_path)


def test_open_ibm__local_mode__runs_with_the_noise_of_a_real_device(tmp_path):
    provider = open_ibm(NodeConfig(ibm_backends="fake_manila", ibm_channel="local"), tmp_path)
    (backend,) = provider.backends
    request = RunRequest(BELL, "openqasm2", 2_000, 1, CircuitLimits())
    reference = backend.submit(request, "1:0x0:1")
    result = backend.result(reference, 60)

    assert result.engine == NOISY
    assert 0.85 < (result.counts["00"] + result.counts["11"]) / 2_000 < 0.999
    assert backend.reconcile("1:0x0:1") == reference
    assert provider.account.use(0).runs == {"fake_manila": 1}
    provider.close()


@pytest.mark.parametrize("name", ["token_file", "instance"])
def test_node_config__remote_backends_without_an_account__are_refused(name):
    given = {"ibm_token_file": "/some/file", "ibm_instance": "crn:v1:x"}
    del given[f"ibm_{name}"]

    with pytest.raises(InputError, match=f"execution.ibm_{name}: is missing"):
        NodeConfig(ibm_backends="ibm_fez", **given)


def test_run_result__with_a_provider__is_a_hardware_result():
    common = dict.fromkeys(("shots", "seed", "qubits", "clbits", "depth"), 1)
    texts = dict.fromkeys(("method", "engine", "transpiled_digest", "confinement"), "x")
    document = {**common, **texts, "counts": {"0": 1}, "operations": {}, "versions": {}, "seconds": {}}

    assert type(run_result(document)) is RunResult
    assert type(run_result({**document, "provider": {"name": "ibm"}})) is HardwareResult


def test_from_untrusted__sandboxed_process_that_claims_a_provider__is_refused():
    request = SimpleNamespace(limits=CircuitLimits())

    with pytest.raises(CircuitRejected):
        RunResult.from_untrusted({"provider": {"name": "ibm"}}, request)
