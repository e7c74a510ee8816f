from __future__ import annotations

import json

import pytest
from eth_utils import to_checksum_address

from oracle.chain.deployments import Deployment
from oracle.jobs.errors import InputError

DEPLOYMENT = Deployment(31337, 5, *(to_checksum_address(bytes([n]) * 20) for n in (0xA1, 0xB2, 0xC3)))


def test_load__what_save_wrote__is_the_same(tmp_path):
    path = DEPLOYMENT.save(tmp_path / "new" / "folder")

    assert path.name == "31337.json"
    assert Deployment.load(tmp_path / "new" / "folder", 31337) == DEPLOYMENT


def test_save__again__replaces_the_file_and_leaves_nothing_else(tmp_path):
    DEPLOYMENT.save(tmp_path)
    later = Deployment(31337, 9, DEPLOYMENT.result_nft, DEPLOYMENT.oracle_registry, DEPLOYMENT.job_escrow)
    later.save(tmp_path)

    assert Deployment.load(tmp_path, 31337) == later
    assert [path.name for path in tmp_path.iterdir()] == ["31337.json"]


def test_load__no_file__says_how_to_get_one(tmp_path):
    with pytest.raises(InputError, match="no deployment") as refused:
        Deployment.load(tmp_path, 1)

    assert "qscrow localnet" in refused.value.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"chainId": 1},
        {"chainId": "31337"},
        {"deployedAtBlock": -1},
        {"deployedAtBlock": "5"},
        {"deployedAtBlock": None},
        {"jobEscrow": "0x12"},
        {"oracleRegistry": None},
        {"resultNFT": DEPLOYMENT.result_nft[:-1] + "\n"},
        {"jobEscrow": DEPLOYMENT.job_escrow.swapcase().replace("0X", "0x")},
    ],
)
def test_load__a_wrong_value__is_refused_with_the_file(tmp_path, changes):
    path = DEPLOYMENT.save(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    with pytest.raises(InputError) as refused:
        Deployment.load(tmp_path, 31337)

    assert str(path) in refused.value.field


@pytest.mark.parametrize("name", ["chainId", "deployedAtBlock", "jobEscrow", "oracleRegistry", "resultNFT"])
def test_load__a_value_missing__is_refused(tmp_path, name):
    path = DEPLOYMENT.save(tmp_path)
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != name}))

    with pytest.raises(InputError, match=name):
        Deployment.load(tmp_path, 31337)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'"text"', b"null", b"{", b"\xff", b"[" * 60_000, b" " * 70_000])
def test_load__no_deployment_file__is_refused(tmp_path, content):
    (tmp_path / "31337.json").write_bytes(content)

    with pytest.raises(InputError):
        Deployment.load(tmp_path, 31337)


def test_load__a_folder_in_its_place__is_refused(tmp_path):
    (tmp_path / "31337.json").mkdir()

    with pytest.raises(InputError, match="cannot be read"):
        Deployment.load(tmp_path, 31337)
