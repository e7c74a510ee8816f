"""What an operator decides, in one place: the settings of a node, where each stands in the file, and what it may be."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from oracle.jobs.errors import InputError
from oracle.node.kinds import Addresses, Flag, Kind, Money, Seconds, Share, Text, Url, Whole, Words

LOCAL_CHAINS = frozenset({31337})
PORT = Whole(1, 65_535, word="off")
GWEI, ETHER = 10**9, 10**18
MOST_BACKOFF_SECONDS = 3_600.0
DAY = 86_400.0
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
APPROVALS = ("new_circuit_family", "budget_over", "unknown_requester")
"""What an operator may want to be asked about."""


@dataclass(frozen=True)
class Setting:
    """One entry ``key`` of ``[section]``; ``target`` is the attribute it ends up in, if that has another name.

    ``names`` are further environment variables with its value, ``option`` is the flag of ``qscrow oracle run``. A
    ``by_file`` one may also be read from a file, named by ``<key>_file`` or by ``QSCROW_<SECTION>_<KEY>_FILE``.
    """

    section: str
    key: str
    kind: Kind
    default: Any
    help: str
    target: str = ""
    names: tuple[str, ...] = ()
    option: str = ""
    by_file: bool = False

    @property
    def attribute(self) -> str:
        """The attribute it ends up in."""
        return self.target or self.key

    @property
    def name(self) -> str:
        """``section.key``."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"QSCROW_{self.section}_{self.key}".upper()


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in(section: str, kind: Kind, default: Any, text: str, *, key: str = "", option: str = "") -> Any:
    metadata = {"section": section, "kind": kind, "help": text, "key": key, "option": option}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class NodeConfig:
    """Settings of one node. Money in wei, times in seconds; ``docs/operators.md`` explains each.

    Raises :class:`InputError` for a value out of range and for settings that contradict each other.
    """

    confirmations: int | None = _in(
        "chain",
        Whole(word="finalized"),
        None,
        "Blocks on top of a job before the node acts on it, or the chain's own `finalized` tag.",
        option="--confirmations",
    )
    finality_fallback_confirmations: int = _in(
        "chain", Whole(1), 64, "Blocks after which a block counts as final on a chain without that tag."
    )
    poll_seconds: float = _in("chain", Seconds(above=0), 1.0, "Pause between two looks at the chain.")
    max_backoff_seconds: float = _in(
        "chain",
        Seconds(above=0, most=MOST_BACKOFF_SECONDS),
        60.0,
        "Longest pause before something that failed is tried again.",
    )
    block_range: int = _in(
        "chain", Whole(1), 100_000, "Most blocks to ask for at once; fewer where a provider refuses or logs are many."
    )
    backup_sweep_blocks: int = _in(
        "chain", Whole(), 100, "Blocks that are read a second time, for logs that a provider dropped."
    )

    max_jobs_at_once: int = _in("node", Whole(1, 10_000), 8, "Jobs that are worked on at the same time.")
    max_attempts: int = _in("node", Whole(1), 8, "How often a run is tried when the machine, not the circuit, failed.")
    drain_seconds: float = _in("node", Seconds(), 60.0, "How long a stopping node finishes the steps it is in.")
    container_digest: str = _in(
        "node", Text(), "", "Digest of the image the node runs in, `sha256:…`: results name it beside the code."
    )

    price_base: int = _in("prices", Money(), ETHER // 10_000, "Charge per job.", key="base", option="--price-base")
    price_per_shot: int = _in(
        "prices", Money(), 10 * GWEI, "Charge per shot.", key="per_shot", option="--price-per-shot"
    )

    price_hardware: int = _in("prices", Money(), 0, "Added for a run on hardware.", key="hardware")

    take_open_jobs: bool = _in("policy", Flag(), True, "Also take jobs that name no oracle.", option="--open-jobs")
    max_bond: int = _in("policy", Money(), ETHER, "Largest bond to lock for one job.")
    margin_seconds: int = _in("policy", Whole(), 5, "Seconds kept free before every deadline.")
    accept_above_wei: int = _in(
        "policy",
        Money(),
        0,
        "An addressed job whose charge is at most this is run without accepting it first.",
        key="accept_above",
    )
    per_requester_limit: int = _in("policy", Whole(1), 32, "Jobs of one requester that are worked on or waiting.")
    queue_limit: int = _in("policy", Whole(1), 1_000, "Jobs accepted and not run yet; beyond it new ones wait.")
    trusted_validators: frozenset[str] = _in(
        "policy", Addresses(), frozenset(), "Validators a job may name.", option="--trust-validator"
    )
    trusted_arbiters: frozenset[str] = _in(
        "policy", Addresses(), frozenset(), "Arbiters a job may name.", option="--trust-arbiter"
    )

    min_confidence: float | None = _in(
        "policy",
        Share(),
        0.99,
        "Jobs whose validator would reject with less confidence are declined: 0.99 rejects one honest result in 100.",
    )

    gate_apply_to: str = _in(
        "gates", Text(("hardware", "all")), "hardware", "Runs that have to pass the gates.", key="apply_to"
    )
    gate_simulation: bool = _in(
        "gates", Flag(), True, "Simulate before hardware, whatever the spec says.", key="require_simulation"
    )
    gate_baseline_distance: float | None = _in(
        "gates",
        Share(),
        0.08,
        "Hardware only if its calibration predicts outcomes nearer to the simulation than this, beyond shot noise.",
        key="require_baseline_distance_below",
    )
    gate_runs_per_day: int | None = _in(
        "gates", Whole(word="unlimited"), 10, "Gated runs taken in 24 hours.", key="max_hardware_runs_per_day"
    )
    gate_runs_per_requester: int | None = _in(
        "gates", Whole(word="unlimited"), 5, "Those of one requester.", key="max_runs_per_requester"
    )
    gate_approvals: frozenset[str] = _in(
        "gates",
        Words(APPROVALS),
        frozenset(APPROVALS),
        "What the operator is asked about: `qscrow oracle approve`.",
        key="require_manual_approval_for",
    )
    gate_approval_budget_wei: int = _in(
        "gates", Money(), ETHER // 10, "Budget above which `budget_over` asks.", key="approval_budget"
    )
    gate_known_requesters: frozenset[str] = _in(
        "gates", Addresses(), frozenset(), "Requesters who are known without an approval.", key="known_requesters"
    )
    gate_validation: bool = _in(
        "gates", Flag(), True, "The spec has to name a validation method.", key="require_validation"
    )
    gate_max_qubits: int = _in("gates", Whole(1), 156, "Qubits of a gated run.", key="max_qubits")
    gate_max_gates: int = _in("gates", Whole(1), 10_000, "Gates of a gated run.", key="max_gates")
    gate_max_shots: int = _in("gates", Whole(1), 100_000, "Shots of a gated run.", key="max_shots")

    validator_min_fee: int = _in(
        "validator", Money(), 0, "Jobs that pay a validator less are not judged.", key="min_fee"
    )
    validator_own_oracles: frozenset[str] = _in(
        "validator", Addresses(), frozenset(), "Your own oracles, whose results are not judged.", key="own_oracles"
    )
    validator_baseline_shots: int = _in(
        "validator",
        Whole(1, 10_000_000),
        100_000,
        "Shots of the simulation that a distribution is compared with; more if the job has more.",
        key="baseline_shots",
    )

    max_fee_wei: int = _in("transactions", Money(), 500 * GWEI, "Most to pay per unit of gas.", key="max_fee")
    max_tip_wei: int = _in("transactions", Money(), 50 * GWEI, "Largest tip per unit of gas.", key="max_tip")
    bump_after_blocks: int = _in(
        "transactions", Whole(1), 3, "Blocks after which a transaction is replaced by one that pays more."
    )
    max_in_flight_transactions: int = _in(
        "transactions", Whole(1, 1_000), 16, "Transactions that may wait to be mined.", key="max_in_flight"
    )
    batch_size: int = _in("transactions", Whole(1, 500), 50, "Most results delivered in one transaction.")
    batch_delay_seconds: float = _in(
        "transactions", Seconds(), 0.5, "How long a finished result waits for others to be delivered with."
    )
    report_hardware: bool = _in(
        "transactions", Flag(), True, "Say on chain when a hardware job was simulated and when it was submitted."
    )
    low_balance_wei: int = _in(
        "transactions", Money(), ETHER // 100, "Below this balance the node is unhealthy.", key="low_balance"
    )

    content_max_bytes: int | None = _in(
        "content", Whole(2**20, word="unlimited"), None, "Largest size of the embedded store.", key="max_bytes"
    )
    gateway_port: int | None = _in("content", PORT, None, "Port on which the node serves and takes content.")
    gateway_host: str = _in("content", Text(), "127.0.0.1", "Address that port is bound to.")
    upload_quota_bytes: int = _in("content", Whole(), 2**30, "Room for uploads to the gateway.", key="upload_quota")
    upload_age_seconds: float = _in(
        "content", Seconds(above=60), DAY, "How long uploads stay, and copies that no job needs any more."
    )
    retention_seconds: float = _in(
        "content", Seconds(most=3650 * DAY), 90 * DAY, "How long results are kept once their jobs are over."
    )
    collect_seconds: float = _in("content", Seconds(above=0), 3600.0, "Pause between two looks for content to drop.")

    executor: str = _in("execution", Text(("pool", "dask")), "pool", "Where circuits run: here, or on a Dask cluster.")
    workers: int = _in(
        "execution", Whole(1, 1_024), usable_cores, "Circuits at a time; by default one per core.", option="--workers"
    )
    qsim: bool = _in("execution", Flag(), True, "Use qsim for dense circuits, where the extra `fast` is installed.")
    memory_bytes: int = _in("execution", Whole(), 0, "Memory that runs may take together; 0: no bound.")
    dask_scheduler: str = _in("execution", Text(), "", "Address of the Dask scheduler, for example `tls://host:8786`.")
    dask_tls_ca: str = _in("execution", Text(), "", "Certificate of the cluster's authority, a PEM file.")
    dask_tls_cert: str = _in("execution", Text(), "", "Our certificate for the cluster, a PEM file.")
    dask_tls_key: str = _in("execution", Text(), "", "Its key, a PEM file.")
    ibm_backends: str = _in(
        "execution", Text(), "", "IBM backends jobs may be promoted to, with commas between, for example `ibm_fez`."
    )
    ibm_channel: str = _in(
        "execution",
        Text(("ibm_quantum_platform", "local")),
        "ibm_quantum_platform",
        "IBM's service, or the fake backends of its client, simulated here.",
    )
    ibm_token_file: str = _in(
        "execution", Text(), "", "File whose first line is the IBM Cloud API key; only its owner may read it."
    )
    ibm_instance: str = _in("execution", Text(), "", "CRN of the instance that pays.")
    ibm_url: str = _in("execution", Url(), "", "A stand-in for IBM's service, such as `qscrow ibm box`.")
    ibm_max_execution_seconds: int = _in(
        "execution", Whole(1, 10_800), 60, "Longest time one job may hold a device, which is what IBM charges for."
    )
    ibm_max_attempts: int = _in("execution", Whole(1, 100), 2, "How often a job that IBM fails is submitted in all.")
    ibm_poll_seconds: float = _in(
        "execution", Seconds(above=0), 5.0, "First pause between two looks at a job there; it grows up to 5 minutes."
    )
    ibm_private: bool = _in(
        "execution", Flag(), False, "Have IBM delete circuit and result once the result has been read."
    )

    metrics_port: int | None = _in(
        "watch", PORT, None, "Port of `/metrics`, `/health` and `/ready`.", option="--metrics-port"
    )
    metrics_host: str = _in("watch", Text(), "127.0.0.1", "Address that port is bound to.")
    health_silence_seconds: float = _in(
        "watch", Seconds(above=0), 180.0, "Without a completed look at the chain for so long, the node is unhealthy."
    )
    max_lag_blocks: int = _in(
        "watch", Whole(1), 50, "Further behind the blocks it could have read, the node is unhealthy."
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            try:
                each.metadata["kind"].check(getattr(self, each.name))
            except InputError as err:
                raise InputError(err.message, field=each.name, remedy=err.remedy) from None
        for problem in contradictions(self):
            raise problem

    def confirmations_on(self, chain_id: int) -> int | None:
        """Confirmations to wait for on this chain; a local development chain has nothing to wait for."""
        return 0 if self.confirmations is None and chain_id in LOCAL_CHAINS else self.confirmations


def contradictions(config: Any) -> Iterator[InputError]:
    """What is wrong with settings that are each fine; ``config`` has the attributes of a :class:`NodeConfig`."""
    if config.executor == "dask" and not config.dask_scheduler:
        yield InputError("is missing", field="execution.dask_scheduler", remedy="name it, or use the executor pool")
    if config.executor == "pool" and config.dask_scheduler:
        yield InputError(
            "is of no use to the executor pool", field="execution.dask_scheduler", remedy='set executor = "dask"'
        )
    tls = {name: getattr(config, f"dask_{name}") for name in ("tls_ca", "tls_cert", "tls_key")}
    if any(tls.values()) != config.dask_scheduler.startswith("tls://") or any(tls.values()) != all(tls.values()):
        missing = next((name for name, value in tls.items() if not value), "tls_ca")
        yield InputError(
            "does not go with dask_scheduler",
            field=f"execution.dask_{missing}",
            remedy="tls:// needs all three dask_tls files, and they need tls://",
        )
    yield from _ibm_contradictions(config)
    if config.container_digest and not _IMAGE.fullmatch(config.container_digest):
        remedy = "give the sha256:… that `docker image inspect` shows"
        yield InputError("is no digest of an image", field="node.container_digest", remedy=remedy)
    if config.max_tip_wei > config.max_fee_wei:
        yield InputError("is more than max_fee", field="transactions.max_tip", remedy="lower it, or raise max_fee")
    if config.health_silence_seconds <= config.poll_seconds:
        yield InputError(
            "is not more than poll_seconds", field="watch.health_silence_seconds", remedy="allow several looks"
        )
    if config.per_requester_limit > config.queue_limit:
        yield InputError("is more than queue_limit", field="policy.per_requester_limit", remedy="lower it")
    same = (config.metrics_port, config.metrics_host) == (config.gateway_port, config.gateway_host)
    if config.metrics_port is not None and same:
        yield InputError("is the gateway's as well", field="watch.metrics_port", remedy="choose another port")


def _ibm_contradictions(config: Any) -> Iterator[InputError]:
    remote = config.ibm_backends.strip(", ") and config.ibm_channel != "local"
    for name in ("token_file", "instance"):
        if remote and not getattr(config, f"ibm_{name}"):
            remedy = "set it, or name no ibm_backends"
            yield InputError("is missing", field=f"execution.ibm_{name}", remedy=remedy)
    if config.ibm_instance and not config.ibm_instance.startswith("crn:"):
        yield InputError("is no CRN", field="execution.ibm_instance", remedy="copy the one that starts with crn:v1:")


def node_settings() -> list[Setting]:
    """The settings a :class:`NodeConfig` is made of."""
    return [_as_setting(each) for each in fields(NodeConfig)]


def _as_setting(each: Any) -> Setting:
    facts = each.metadata
    default = each.default_factory() if each.default is MISSING else each.default
    key = facts["key"] or each.name
    return Setting(facts["section"], key, facts["kind"], default, facts["help"], each.name, option=facts["option"])
