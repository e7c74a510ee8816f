from __future__ import annotations

import pytest

from oracle.jobs.errors import InputError
from oracle.node.config import NodeConfig, contradictions, node_settings


def test_node_config__defaults__are_in_range_and_do_not_contradict():
    config = NodeConfig()

    assert list(contradictions(config)) == []
    assert config.workers >= 1
    assert config.metrics_port is None and config.gateway_port is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workers": 0}, "workers"),
        ({"poll_seconds": 0}, "poll_seconds"),
        ({"price_base": -1}, "price_base"),
        ({"metrics_port": 65_536}, "metrics_port"),
        ({"batch_size": 0}, "batch_size"),
        ({"executor": "cloud"}, "executor"),
        ({"executor": "dask"}, "execution.dask_scheduler"),
        ({"dask_scheduler": "tcp://x:1"}, "execution.dask_scheduler"),
        ({"executor": "dask", "dask_scheduler": "tls://x:1"}, "execution.dask_tls_ca"),
        ({"executor": "dask", "dask_scheduler": "tcp://x:1", "dask_tls_ca": "a"}, "execution.dask_tls_cert"),
        ({"executor": "dask", "dask_scheduler": "tls://x:1", "dask_tls_ca": "a"}, "execution.dask_tls_cert"),
        ({"max_tip_wei": 2, "max_fee_wei": 1}, "transactions.max_tip"),
        ({"health_silence_seconds": 1.0, "poll_seconds": 1.0}, "watch.health_silence_seconds"),
        ({"per_requester_limit": 9, "queue_limit": 8}, "policy.per_requester_limit"),
        ({"metrics_port": 9_000, "gateway_port": 9_000}, "watch.metrics_port"),
        ({"container_digest": "qscrow:latest"}, "node.container_digest"),
        ({"container_digest": "sha256:" + "AB" * 32}, "node.container_digest"),
    ],
)
def test_node_config__unusable__names_the_setting_and_a_remedy(changes, field):
    with pytest.raises(InputError) as caught:
        NodeConfig(**changes)

    assert caught.value.field == field
    assert caught.value.remedy


def test_node_config__two_services_on_one_port_of_two_addresses__are_fine():
    assert NodeConfig(metrics_port=9_000, gateway_port=9_000, gateway_host="0.0.0.0").gateway_port == 9_000


def test_node_settings__each__has_a_name_of_its_own_and_a_sentence():
    settings = node_settings()

    assert len({setting.name for setting in settings}) == len(settings)
    assert all(setting.help.endswith(".") for setting in settings)


def test_node_settings__every_default__is_one_its_own_kind_reads():
    for setting in node_settings():
        setting.kind.check(setting.default)
        written = setting.kind.show(setting.default).strip("[]").replace('"', "")
        assert setting.kind.parse_text(written) == setting.default
