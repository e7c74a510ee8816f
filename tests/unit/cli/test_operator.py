from __future__ import annotations

import pytest

from oracle.chain.localnet import dev_accounts

STAKE = 10**16


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


def test_register__key_in_an_environment_file__needs_no_keystore(qscrow, wallet, home, tmp_path, monkeypatch):
    newcomer = dev_accounts(7)[6]
    secret = tmp_path / "env"
    secret.touch(0o600)
    secret.write_text(f"QSCROW_PRIVATE_KEY=0x{bytes(newcomer.key).hex()}\n")
    monkeypatch.delenv("QSCROW_ACCOUNT")
    monkeypatch.setenv("QSCROW_ACCOUNT_ENV_FILE", str(secret))
    monkeypatch.setenv("QSCROW_ACCOUNT_SEALING_KEY", "stranger")

    said = qscrow("oracle", "register", "--stake", "0.01 ether")
    status = qscrow("oracle", "status", "--json")
    checked = qscrow("oracle", "check", "--json")

    assert said.out.startswith("Registered with a stake of 0.01 ether\n")
    assert newcomer.address in said.out
    assert (status.json["address"], status.json["stake"]) == (newcomer.address, str(STAKE))
    assert [each["check"] for each in checked.json["checks"] if each["status"] == "fail"] == []


def test_register__profile__names_the_prices_and_limits_in_effect(qscrow, wallet, home, monkeypatch):
    from oracle.content.store import BlockStore, get_object
    from oracle.jobs.canonical import parse_json

    monkeypatch.setenv("QSCROW_PRICES_BASE", "7 gwei")
    monkeypatch.setenv("QSCROW_LIMITS_QUBITS", "11")
    monkeypatch.setenv("QSCROW_EXECUTION_IBM_BACKENDS", "fake_manila, fake_guadalupe")
    monkeypatch.setenv("QSCROW_EXECUTION_IBM_CHANNEL", "local")
    monkeypatch.setenv("QSCROW_PRICES_HARDWARE", "9 gwei")

    link = qscrow("oracle", "register", "--account", "oracle", "--json").json["profile"]

    profile = parse_json(
        get_object(BlockStore(home / "content"), bytes.fromhex(link.removeprefix("ipfs://f01551220")), 10_000),
        "profile",
        10_000,
    )
    assert (profile["price_base"], profile["max_qubits"]) == (str(7 * 10**9), 11)
    assert (profile["hardware"], profile["price_hardware"]) == (["fake_manila", "fake_guadalupe"], str(9 * 10**9))
