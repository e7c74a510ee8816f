from __future__ import annotations

from pathlib import Path

import pytest

from oracle.cli.settings import DEFAULT_RPC, load_settings
from oracle.jobs.errors import InputError


def settings(tmp_path, config: str | bytes | None = None, env=None, **flags):
    if config is not None:
        data = config if isinstance(config, bytes) else config.encode()
        (tmp_path / "config.toml").write_bytes(data)
    return load_settings(env={"QSCROW_HOME": str(tmp_path), **(env or {})}, **flags)


def test_load_settings__nothing_set__defaults(tmp_path):
    found = settings(tmp_path)

    assert (found.home, found.rpc, found.account, found.password_file) == (tmp_path, DEFAULT_RPC, None, None)
    assert found.accounts == tmp_path / "accounts"
    assert found.sealing == tmp_path / "sealing"
    assert found.content == tmp_path / "content"
    assert found.default_password == tmp_path / "password"


def test_load_settings__no_home__is_dot_qscrow(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert load_settings(env={}).home == tmp_path / ".qscrow"


CONFIG = 'rpc = "http://file"\naccount = "file"\npassword_file = "/file"\n'
ENV = {"QSCROW_RPC": "http://env", "QSCROW_ACCOUNT": "env", "QSCROW_PASSWORD_FILE": "/env"}


def test_load_settings__each_level__beats_the_one_below(tmp_path):
    def shown(found):
        return found.rpc, found.account, str(found.password_file)

    assert shown(settings(tmp_path, CONFIG)) == ("http://file", "file", "/file")
    assert shown(settings(tmp_path, CONFIG, ENV)) == ("http://env", "env", "/env")
    flags = {"rpc": "http://flag", "account": "flag", "password_file": Path("/flag")}
    assert shown(settings(tmp_path, CONFIG, ENV, **flags)) == ("http://flag", "flag", "/flag")


def test_load_settings__tilde__is_the_users_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    assert settings(tmp_path, 'password_file = "~/pw"').password_file == Path("/home/somebody/pw")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("rcp = 'x'", "rcp: unknown setting; known: rpc, account, password_file"),
        ("rpc = 8545", "rpc: must be text"),
        ("[rpc]\nurl = 'x'", "rpc: must be text"),
        ("rpc = ", "cannot be used"),
        (b"\xff\xfe", "cannot be used"),
    ],
)
def test_load_settings__unusable_file__names_it_and_the_remedy(tmp_path, config, said):
    with pytest.raises(InputError, match="config.toml") as caught:
        settings(tmp_path, config)

    assert said in str(caught.value)
    assert caught.value.remedy


def test_load_settings__config_is_a_folder__is_an_input_error(tmp_path):
    (tmp_path / "config.toml").mkdir()

    with pytest.raises(InputError, match="cannot be used"):
        settings(tmp_path)


def test_deployments__only_the_working_folder_knows_the_chain__is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = settings(tmp_path / "home")
    assert found.deployments(7) == found.home / "deployments"

    (tmp_path / "deployments").mkdir()
    (tmp_path / "deployments" / "7.json").write_text("{}")
    assert found.deployments(7) == Path("deployments")

    (found.home / "deployments").mkdir(parents=True)
    (found.home / "deployments" / "7.json").write_text("{}")
    assert found.deployments(7) == found.home / "deployments"
