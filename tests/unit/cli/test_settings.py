from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.cli.catalogue import DEFAULT_RPC, all_settings
from oracle.cli.settings import SettingsError, load_settings, read_settings
from oracle.jobs.errors import InputError
from oracle.node.config import NodeConfig
from oracle.node.kinds import Secret

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


CLUSTER = {
    "QSCROW_EXECUTION_EXECUTOR": "dask",
    "QSCROW_EXECUTION_DASK_SCHEDULER": "tls://x:1",
    **{f"QSCROW_EXECUTION_DASK_TLS_{name}": "pem" for name in ("CA", "CERT", "KEY")},
}


def settings(tmp_path, config: str | bytes | None = None, env=None, **flags):
    if config is not None:
        data = config if isinstance(config, bytes) else config.encode()
        (tmp_path / "config.toml").write_bytes(data)
    return load_settings(env={"QSCROW_HOME": str(tmp_path), **(env or {})}, **flags)


def problems(tmp_path, config: str = "", env=None, **flags) -> list[str]:
    """Everything said to be wrong, without the folder."""
    (tmp_path / "config.toml").write_text(config)
    _, found = read_settings(env={"QSCROW_HOME": str(tmp_path), **(env or {})}, **flags)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in found]


def test_load_settings__nothing_set__defaults(tmp_path):
    found = settings(tmp_path)

    assert (found.home, found.rpc, found.account, found.password_file) == (tmp_path, (DEFAULT_RPC,), None, None)
    assert found.accounts == tmp_path / "accounts"
    assert found.sealing == tmp_path / "sealing"
    assert found.content == tmp_path / "content"
    assert found.default_password == tmp_path / "password"
    assert found.node == NodeConfig()
    assert found.content_environment() == {}
    assert {origin.level for origin in found.origins.values()} == {"default"}


def test_load_settings__no_home__is_dot_qscrow(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert load_settings(env={}).home == tmp_path / ".qscrow"


OLD = 'rpc = "http://file"\naccount = "file"\npassword_file = "/file"\n'
NEW = '[chain]\nrpc = ["http://file"]\n[account]\nname = "file"\npassword_file = "/file"\n'
OLD_ENV = {"QSCROW_RPC": "http://env", "QSCROW_ACCOUNT": "env", "QSCROW_PASSWORD_FILE": "/env"}
NEW_ENV = {
    "QSCROW_CHAIN_RPC": "http://env",
    "QSCROW_ACCOUNT_NAME": "env",
    "QSCROW_ACCOUNT_PASSWORD_FILE": "/env",
}


@pytest.mark.parametrize("config", [OLD, NEW])
@pytest.mark.parametrize("env", [OLD_ENV, NEW_ENV])
def test_load_settings__each_level__beats_the_one_below(tmp_path, config, env):
    def shown(found):
        return *found.rpc, found.account, str(found.password_file)

    def levels(found):
        return {found.origins[name].level for name in ("chain.rpc", "account.name", "account.password_file")}

    from_file, from_env = settings(tmp_path, config), settings(tmp_path, config, env)
    flags = {"rpc": "http://flag", "account": "flag", "password_file": Path("/flag")}
    from_flags = settings(tmp_path, config, env, **flags)

    assert (shown(from_file), levels(from_file)) == (("http://file", "file", "/file"), {"file"})
    assert (shown(from_env), levels(from_env)) == (("http://env", "env", "/env"), {"environment"})
    assert (shown(from_flags), levels(from_flags)) == (("http://flag", "flag", "/flag"), {"flag"})


def test_load_settings__whole_file__arrives_in_every_part(tmp_path):
    found = settings(
        tmp_path,
        f"""
        [chain]
        rpc = ["http://one", "https://user:pw@two/v3/key"]
        confirmations = 3
        [prices]
        base = "0.0002 ether"
        per_shot = "11 gwei"
        [policy]
        take_open_jobs = false
        trusted_validators = ["{ADDRESS.lower()}"]
        [transactions]
        max_fee = "90 gwei"
        low_balance = "0.5 ether"
        [execution]
        executor = "dask"
        dask_scheduler = "tcp://scheduler:8786"
        [limits]
        qubits = 20
        [watch]
        metrics_port = 9464
        log_format = "json"
        log_file = "node.log"
        """,
    )

    assert found.rpc == ("http://one", "https://user:pw@two/v3/key")
    assert (found.node.price_base, found.node.price_per_shot) == (2 * 10**14, 11 * 10**9)
    assert (found.node.confirmations, found.node.take_open_jobs) == (3, False)
    assert found.node.trusted_validators == {ADDRESS}
    assert (found.node.max_fee_wei, found.node.low_balance_wei) == (90 * 10**9, 5 * 10**17)
    assert (found.node.executor, found.node.dask_scheduler) == ("dask", "tcp://scheduler:8786")
    assert (found.limits.qubits, found.node.metrics_port) == (20, 9464)
    assert (found.log_format, found.log_file) == ("json", tmp_path / "node.log")


@pytest.mark.parametrize("setting", all_settings(), ids=lambda setting: setting.name)
def test_load_settings__every_setting__can_be_set_by_its_variable(tmp_path, setting):
    other = {
        "chain.rpc": "http://elsewhere",
        "account.signer_url": "http://signer",
        "content.kubo_api": "http://kubo",
        "content.gateways": "http://gateway",
        "content.max_bytes": "5_000_000",
        "policy.trusted_validators": ADDRESS,
        "policy.trusted_arbiters": ADDRESS,
        "validator.own_oracles": ADDRESS,
        "gates.apply_to": "all",
        "gates.known_requesters": ADDRESS,
        "gates.require_manual_approval_for": "budget_over",
        "gates.require_simulation": "no",
        "gates.require_validation": "no",
        "gates.require_baseline_distance_below": "0.2",
        "policy.min_confidence": "0.9",
        "policy.take_open_jobs": "no",
        "execution.executor": "dask",
        "node.container_digest": "sha256:" + "ab" * 32,
        "execution.qsim": "no",
        "execution.ibm_channel": "local",
        "execution.ibm_instance": "crn:v1:one",
        "execution.ibm_url": "http://box",
        "execution.ibm_private": "yes",
        "account.signer_kind": "web3signer",
        "content.kubo_client": "ipfshttpclient",
        "watch.log_format": "json",
        "watch.log_level": "debug",
        "transactions.max_tip": "60 gwei",
        "transactions.report_hardware": "no",
        "transactions.max_fee": "600 gwei",
    }
    needed = {
        "account.signer_url": {"QSCROW_ACCOUNT_SIGNER_ADDRESS": ADDRESS},
        "content.kubo_authorization": {"KUBO_API": "http://kubo"},
        "content.kubo_authorization_file": {"KUBO_API": "http://kubo"},
        "execution.executor": {"QSCROW_EXECUTION_DASK_SCHEDULER": "tcp://x:1"},
        "execution.dask_scheduler": {"QSCROW_EXECUTION_EXECUTOR": "dask"},
        **{f"execution.dask_tls_{name}": CLUSTER for name in ("ca", "cert", "key")},
        "execution.ibm_backends": {"QSCROW_EXECUTION_IBM_CHANNEL": "local"},
    }
    text = other.get(setting.name) or {"Text": "word", "File": "/file", "Files": "/file", "Secret": "word"}.get(
        type(setting.kind).__name__, "77"
    )

    found = settings(tmp_path, env={**needed.get(setting.name, {}), setting.variable: text})

    values = {s.name: value for s, value, _ in found.shown()}
    assert values[setting.name] != setting.kind.show(setting.default)
    assert found.origins[setting.name].place == setting.variable


def test_load_settings__tilde_and_relative_paths__are_the_users_home_and_the_files_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    assert settings(tmp_path, 'password_file = "~/pw"').password_file == Path("/home/somebody/pw")
    assert settings(tmp_path, 'password_file = "pw"').password_file == tmp_path / "pw"


def test_load_settings__file_named_by_flag_or_variable__is_read_instead(tmp_path):
    named = tmp_path / "elsewhere.toml"
    named.write_text('account = "elsewhere"')
    (tmp_path / "config.toml").write_text('account = "usual"')

    assert settings(tmp_path, config=None, env={"QSCROW_CONFIG": str(named)}).account == "elsewhere"
    assert load_settings(env={"QSCROW_HOME": str(tmp_path)}, config=named).account == "elsewhere"
    with pytest.raises(InputError, match="missing.toml: cannot be used"):
        settings(tmp_path, env={"QSCROW_CONFIG": str(tmp_path / "missing.toml")})


def test_read_settings__many_mistakes__are_all_listed_with_place_and_remedy(tmp_path):
    found = problems(
        tmp_path,
        """
        rcp = "http://x"
        [prices]
        bas = "1 gwei"
        per_shot = 0.5
        [policy]
        max_bond = "lots"
        [chain]
        confirmations = -1
        rpc = "nonsense"
        [limits]
        qubits = 0
        [transactions]
        max_fee = "1 gwei"
        """,
        {"QSCROW_PRICES_BAES": "1", "QSCROW_WATCH_METRICS_PORT": "99999", "QSCROW_WRITE_GAS": "1"},
        flags={"execution.workers": 0},
    )

    assert found == [
        "config.toml: rcp: unknown setting; did you mean rpc?",
        "config.toml: prices.bas: unknown setting; did you mean base?",
        'config.toml: prices.per_shot: is not an amount; write it in quotes with its unit: "0.01 ether", "25 gwei"',
        "config.toml: policy.max_bond: 'lots' is not an amount; write it in quotes with its unit:"
        ' "0.01 ether", "25 gwei"',
        "config.toml: chain.confirmations: -1 is out of range; use 0 or more",
        "config.toml: chain.rpc: is not an http(s) URL; give http://host:port",
        "config.toml: limits.qubits: 0 is out of range; use 1 or more",
        "QSCROW_WATCH_METRICS_PORT: 99999 is out of range; use 1 to 65535",
        "QSCROW_PRICES_BAES: unknown setting; did you mean QSCROW_PRICES_BASE?",
        "--workers: 0 is out of range; use 1 to 1024",
        "transactions.max_tip: is more than max_fee; lower it, or raise max_fee",
    ]


def test_load_settings__several_mistakes__are_one_error_with_a_line_for_each(tmp_path):
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, "rcp = 1\n[prices]\nbase = 0.5\n")

    first, *lines = str(caught.value).splitlines()
    assert first == "2 settings cannot be used:"
    assert len(lines) == 2
    assert [problem["field"] for problem in caught.value.as_dict()["problems"]] == [
        f"{tmp_path}/config.toml: rcp",
        f"{tmp_path}/config.toml: prices.base",
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("rpc = 8545", "rpc: is not a list of URLs"),
        ("[rpc]\nurl = 'x'", "rpc: unknown setting"),
        ("chain = 5", "chain: is a section; write [chain]"),
        ("rpc = ", "cannot be used"),
        (b"\xff\xfe", "cannot be used"),
        ("[account]\nname = 'a'\nenv_file = 'b'", "env_file: contradicts account.name"),
        ("[account]\nsigner_url = 'http://x'", "signer_url: needs signer_address"),
        ("[content]\nkubo_authorization = 'Basic hunter2'", "is a secret and does not belong here"),
        ("[content]\nkubo_authorization_file = 5", "is not a list of paths"),
        ("[content]\nkubo_api = ['http://a', 'http://b']\nkubo_authorization_file = 'x'", "1 files for 2 nodes"),
        ("[content]\nkubo_authorization_file = 'x'", "is of no use without kubo_api"),
        ("[chain]\nrpc_file = 5", "is not a path"),
        ("[chain]\nrpc_file = 'nowhere'", "nowhere cannot be read"),
        ("[execution]\nexecutor = 'dask'", "dask_scheduler: is missing"),
    ],
)
def test_load_settings__unusable_file__names_it_and_the_remedy(tmp_path, config, said):
    with pytest.raises(InputError) as caught:
        settings(tmp_path, config)

    assert said in str(caught.value)
    assert caught.value.remedy
    assert "hunter2" not in str(caught.value)


def test_load_settings__config_is_a_folder__is_an_input_error(tmp_path):
    (tmp_path / "config.toml").mkdir()

    with pytest.raises(InputError, match="cannot be used"):
        settings(tmp_path)


def test_load_settings__secrets__come_from_files_of_their_own(tmp_path):
    (tmp_path / "urls").write_text("https://one/v3/hunter2\nhttps://two\n")
    config = '[chain]\nrpc_file = "urls"\n[content]\nkubo_api = "http://kubo"\nkubo_authorization_file = "header"\n'

    found = settings(tmp_path, config)
    again = settings(tmp_path, env={"QSCROW_CHAIN_RPC_FILE": str(tmp_path / "urls")})

    assert found.rpc == again.rpc == ("https://one/v3/hunter2", "https://two")
    assert found.content_environment()["KUBO_AUTHORIZATION_FILE"] == str(tmp_path / "header")
    assert "hunter2" not in str([text for _, text, _ in found.shown()]) + repr(found)


def test_load_settings__header_in_the_environment__is_never_shown(tmp_path):
    found = settings(tmp_path, env={"KUBO_API": "http://kubo", "KUBO_AUTHORIZATION": "Basic hunter2"})

    assert found.content_environment() == {"KUBO_API": "http://kubo", "KUBO_AUTHORIZATION": "Basic hunter2"}
    assert "hunter2" not in str([text for _, text, _ in found.shown()]) + repr(found)


def test_load_settings__another_way_to_sign_at_a_higher_level__replaces_the_lower(tmp_path):
    config = '[account]\nenv_file = "key.env"\n'

    assert settings(tmp_path, config).env_file == tmp_path / "key.env"
    found = settings(tmp_path, config, account="alice")
    assert (found.account, found.env_file) == ("alice", None)
    assert found.origins["account.env_file"].level == "default"


def test_shown__as_a_file__is_read_back_as_the_same_settings(tmp_path):
    config = f'[prices]\nbase = "3 gwei"\n[policy]\ntrusted_arbiters = ["{ADDRESS}"]\n[watch]\nmetrics_port = 9000\n'
    first = settings(tmp_path, config)
    sections: dict[str, list[str]] = {}
    for setting, text, _ in first.shown():
        if text != '""' and type(setting.kind) is not Secret:
            sections.setdefault(setting.section, []).append(f"{setting.key} = {text}")

    again = settings(tmp_path, "\n".join(f"[{name}]\n" + "\n".join(lines) for name, lines in sections.items()))

    assert (again.node, again.limits, again.rpc) == (first.node, first.limits, first.rpc)


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=200))
def test_read_settings__any_text_as_a_file__is_settings_or_a_list_of_problems(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("home") / "config.toml"
    path.write_text(text)

    found, wrong = read_settings(config=path, env={"QSCROW_HOME": str(path.parent)})

    try:
        known = not tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError:
        known = False
    assert known == (not wrong)
    assert found.node == NodeConfig()


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
