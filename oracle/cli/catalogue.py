"""The catalogue of settings: every entry of the configuration, where it stands, what it may be and what it means."""

from __future__ import annotations

from dataclasses import fields

from oracle.circuits.limits import MAX_SECONDS, MAX_VALUE, CircuitLimits
from oracle.node.config import Setting, node_settings
from oracle.node.kinds import File, Files, Seconds, Secret, Text, Url, Urls, Whole

DEFAULT_RPC = "http://127.0.0.1:8545"
SECTIONS = ("chain", "account", "node", "prices", "policy", "transactions", "content", "execution", "watch", "limits")

PLACES = (
    Setting(
        "chain",
        "rpc",
        Urls(),
        (DEFAULT_RPC,),
        "Chain endpoints, the preferred one first.",
        names=("QSCROW_RPC",),
        option="--rpc",
        by_file=True,
    ),
    Setting(
        "account",
        "name",
        Text(),
        "",
        "Account to sign with: a keystore in `<home>/accounts`.",
        target="account",
        names=("QSCROW_ACCOUNT",),
        option="--account",
    ),
    Setting(
        "account",
        "password_file",
        File(),
        None,
        "File whose first line unlocks the keystores; else `<home>/password`, else the terminal.",
        names=("QSCROW_PASSWORD_FILE",),
        option="--password-file",
    ),
    Setting("account", "env_file", File(), None, "File with `QSCROW_PRIVATE_KEY=0x…` to sign with."),
    Setting("account", "signer_url", Url(), "", "External signer (Clef, Web3Signer) to sign with.", by_file=True),
    Setting("account", "signer_address", Text(), "", "Which of the signer's accounts to use."),
    Setting("account", "signer_kind", Text(("clef", "web3signer")), "clef", "Dialect the signer speaks."),
    Setting("account", "signer_timeout", Seconds(above=0), 30.0, "How long to wait for a signature."),
    Setting("account", "sealing_key", Text(), "", "Key in `<home>/sealing`, if it is not named like the account."),
    Setting(
        "content",
        "kubo_api",
        Urls(multiaddr=True),
        (),
        "Kubo nodes that keep the content; without any, the embedded store.",
        names=("KUBO_API",),
        by_file=True,
    ),
    Setting(
        "content",
        "kubo_authorization",
        Secret(),
        "",
        "`Authorization` header for the only Kubo node; for the environment alone.",
        names=("KUBO_AUTHORIZATION",),
    ),
    Setting(
        "content",
        "kubo_authorization_file",
        Files(),
        (),
        "Files with that header, one for each Kubo node.",
        target="kubo_authorization_files",
        names=("KUBO_AUTHORIZATION_FILE",),
    ),
    Setting(
        "content",
        "kubo_client",
        Text(("http", "ipfshttpclient")),
        "http",
        "Library that talks to Kubo.",
        names=("KUBO_CLIENT",),
    ),
    Setting(
        "content",
        "gateways",
        Urls(),
        (),
        "Trustless gateways to read from and to hand content to.",
        names=("QSCROW_GATEWAYS",),
    ),
    Setting("watch", "log_format", Text(("text", "json")), "text", "How the log is written.", option="--log-format"),
    Setting("watch", "log_level", Text(("debug", "info", "warning", "error")), "info", "Least important entries kept."),
    Setting("watch", "log_file", File(), None, "File to append the log to; else stderr.", option="--log-file"),
)
LIMIT_HELP = {
    "source_bytes": "Bytes of a circuit.",
    "qubits": "Qubits.",
    "clbits": "Classical bits.",
    "registers": "Registers.",
    "depth": "Depth.",
    "statements": "Statements.",
    "expanded_gates": "Gates once definitions and broadcasts are unfolded.",
    "gate_definitions": "Gate definitions.",
    "nesting": "Depth of brackets, and of gates defined by gates.",
    "expression_terms": "Tokens of one angle.",
    "identifier_length": "Letters of a name.",
    "parameters": "Angles of gates, of all circuits of a job together.",
    "circuits": "Circuits that one job runs, parameter sets and measurement bases included.",
    "observable_terms": "Terms of the observables of one circuit.",
    "shots": "Shots, of all circuits of a job together.",
    "outcomes": "Distinct outcomes in a result.",
    "cpu_seconds": "Seconds of CPU of one run.",
    "wall_seconds": "Seconds one run may take.",
    "memory_bytes": "Bytes of memory of one run, on top of what a warm worker has.",
    "output_bytes": "Bytes of a result.",
}


def all_settings() -> list[Setting]:
    """Every setting there is, section by section."""
    limits = [
        Setting(
            "limits",
            each.name,
            Whole(1, MAX_SECONDS if each.name.endswith("_seconds") else MAX_VALUE),
            each.default,
            LIMIT_HELP[each.name],
        )
        for each in fields(CircuitLimits)
    ]
    return sorted([*PLACES, *node_settings(), *limits], key=lambda setting: SECTIONS.index(setting.section))
