from __future__ import annotations

import re
import tomllib

import pytest

from oracle.cli.catalogue import all_settings
from oracle.cli.settings import read_settings
from oracle.node.kinds import File, Secret

URL = "https://user:hunter2@rpc.example/v3/0123456789abcdef"


@pytest.fixture(scope="module")
def world(new_world):
    return new_world


def test_check__oracle_that_can_run__exits_with_zero(qscrow, wallet):
    done = qscrow("oracle", "check", "--account", "oracle", "--json")

    checks = {each["check"]: each for each in done.json["checks"]}
    assert {name for name, each in checks.items() if each["status"] == "fail"} == set()
    assert (done.code, done.json["ok"]) == (0, True)
    assert wallet.address("oracle") in checks["registration"]["text"]


def test_check__not_registered__says_what_to_do_and_exits_with_nine(qscrow, wallet):
    done = qscrow("oracle", "check", "--account", "stranger")

    assert done.code == 9
    assert re.search(r"fail  registration .* is not registered\n +→ run `qscrow oracle register`", done.out)
    assert done.err.startswith("error: 1 of ")
    assert qscrow("oracle", "check", "--account", "stranger", "--json").code == 9


def test_check__nothing_there__every_failure_at_once(qscrow, monkeypatch):
    monkeypatch.setenv("QSCROW_RPC", "http://127.0.0.1:9")

    done = qscrow("oracle", "check", "--json")

    failed = {each["check"]: each["remedy"] for each in done.json["checks"] if each["status"] == "fail"}
    assert set(failed) == {"endpoint 1", "contracts", "account", "sealing key"}
    assert failed["account"] == "make one with `qscrow account new NAME`"


def test_check__every_place_for_content__is_tried(qscrow, wallet, monkeypatch):
    monkeypatch.setenv("KUBO_API", "http://127.0.0.1:9")
    monkeypatch.setenv("QSCROW_GATEWAYS", "http://127.0.0.1:7")

    done = qscrow("oracle", "check", "--account", "oracle", "--json")

    content = {each["check"]: each["status"] for each in done.json["checks"] if each["check"].startswith("content")}
    assert content == {
        "content in the embedded store": "ok",
        "content in http://127.0.0.1:9": "fail",
        "content in http://127.0.0.1:7": "fail",
    }


def test_config__file_environment_and_flag__each_value_says_where_it_is_from(qscrow, home, monkeypatch):
    home.mkdir()
    (home / "config.toml").write_text(f'[chain]\nrpc = ["{URL}"]\n[node]\nmax_attempts = 3\n')
    monkeypatch.setenv("QSCROW_NODE_DRAIN_SECONDS", "7")

    shown = qscrow("oracle", "config", "--account", "me", "--json")

    settings = shown.json["settings"]
    assert settings["node.max_attempts"] == {
        "value": 3,
        "from": "file",
        "place": f"{home / 'config.toml'}: node.max_attempts",
    }
    assert settings["node.drain_seconds"]["from"] == "environment"
    assert settings["account.name"] == {"value": "me", "from": "flag", "place": "--account"}
    assert settings["chain.rpc"]["value"] == ["https://rpc.example/…"]
    assert settings["limits.qubits"]["from"] == "default"
    assert set(settings) == {setting.name for setting in all_settings()}
    assert "hunter2" not in shown.out and "0123456789abcdef" not in shown.out


def test_config__as_text__is_a_file_that_reads_the_same(qscrow, home, monkeypatch):
    monkeypatch.setenv("QSCROW_NODE_DRAIN_SECONDS", "7")

    out = qscrow("oracle", "config").out

    assert tomllib.loads(out)["node"]["drain_seconds"] == 7
    assert re.search(r"^drain_seconds = 7 +# environment: QSCROW_NODE_DRAIN_SECONDS$", out, re.M)


def test_config__secret_set__is_not_shown(qscrow, monkeypatch):
    monkeypatch.setenv("KUBO_API", "http://127.0.0.1:5001")
    monkeypatch.setenv("KUBO_AUTHORIZATION", "Bearer hunter2")

    text, document = qscrow("oracle", "config").out, qscrow("oracle", "config", "--json")

    assert "hunter2" not in text + document.out
    assert document.json["settings"]["content.kubo_authorization"]["value"] == "set, not shown"


def test_config__mistakes__are_listed_below_the_settings(qscrow, monkeypatch):
    monkeypatch.setenv("QSCROW_NODE_MAX_ATTEMPTS", "0")
    monkeypatch.setenv("QSCROW_CHAIN_RPCS", "x")

    done = qscrow("oracle", "config")

    assert done.code == 2
    assert "max_attempts = 8" in done.out
    assert "QSCROW_NODE_MAX_ATTEMPTS: 0 is out of range" in done.err
    assert "did you mean QSCROW_CHAIN_RPC?" in done.err
    assert [each["field"] for each in qscrow("oracle", "config", "--json").json["problems"]] == [
        "QSCROW_NODE_MAX_ATTEMPTS",
        "QSCROW_CHAIN_RPCS",
    ]


def test_config__template__sets_nothing(qscrow, tmp_path):
    template = tmp_path / "template.toml"
    template.write_text(qscrow("oracle", "config", "--template").out)

    settings, problems = read_settings(config=template, env={"QSCROW_HOME": str(tmp_path)})

    assert problems == []
    assert {origin.level for origin in settings.origins.values()} == {"default"}


def test_config__template_with_its_comments_removed__is_the_defaults(qscrow, tmp_path):
    text = qscrow("oracle", "config", "--template").out
    paths = {s.key for s in all_settings() if type(s.kind) is File}
    kept = [line for line in text.splitlines() if line.partition(" ")[0].strip("#") not in paths]
    (tmp_path / "all.toml").write_text("\n".join(re.sub(r"^#(\w+ = )", r"\1", line) for line in kept))

    settings, problems = read_settings(config=tmp_path / "all.toml", env={"QSCROW_HOME": str(tmp_path)})
    untouched, _ = read_settings(env={"QSCROW_HOME": str(tmp_path)})

    assert problems == []
    pairs = zip(settings.shown(), untouched.shown(), strict=True)
    different = {setting.name for (setting, value, _), (_, default, _) in pairs if value != default}
    assert different <= {"execution.workers"}
    named = {s.name for s in all_settings() if type(s.kind) not in (File, Secret)}
    assert {name for name, origin in settings.origins.items() if origin.level == "file"} == named


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_config__named_file_missing__is_a_mistake(qscrow, flag):
    assert qscrow("oracle", "config", "--config", "nowhere.toml", *flag).code == 2
