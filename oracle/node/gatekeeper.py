"""Asks the gates about a job: gathers the facts a node has, and puts the question to its operator where one is due."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oracle.circuits.instructions import read_work
from oracle.circuits.lint import LintReport
from oracle.circuits.run import RunRequest
from oracle.jobs.terms import ZERO_ADDRESS, Terms
from oracle.node.approvals import Approvals, Request
from oracle.node.config import DAY, NodeConfig
from oracle.node.gates import Facts, GateResult, Gates, Passage, Stage, circuit_family, evaluate, require
from oracle.node.journal import JobRow, Journal, Step
from oracle.node.policy import charge_for

HARDWARE_CHOICE = "ibm_quantum_backend"
_WORD = "manual_approval"


class Gatekeeper:
    """The gates of one node. Hold :attr:`turn` from :meth:`admit` until the job is written down as taken: quotas count
    what is written."""

    def __init__(self, journal: Journal, config: NodeConfig, oracle: str):
        self._journal = journal
        self._config = config
        self._oracle = oracle
        self._approvals = Approvals.beside(journal.path)
        self.turn = threading.Lock()

    def admit(
        self,
        job: JobRow,
        spec: Mapping[str, Any],
        choice: str,
        report: LintReport,
        request: RunRequest,
        *,
        stage: Stage = Stage.ACCEPTANCE,
        runs_at_provider: int = 0,
        **known: Any,
    ) -> list[GateResult]:
        """What the gates say at a ``stage``; nothing if the job needs to pass none.

        ``choice`` is the routing decision's. ``runs_at_provider`` are those of 24 hours that the provider tells of,
        should the journal know of fewer. ``known`` are the fields of :class:`~oracle.node.gates.Facts` that only the
        caller knows: ``queue_minutes``, and before a submission ``simulated``, ``baseline_distance`` and ``promoted``.

        Raises :class:`~oracle.jobs.errors.PolicyDenied`, or :class:`~oracle.node.gates.AwaitsApproval` once the
        operator is asked.
        """
        hardware = choice == HARDWARE_CHOICE
        if not hardware and self._config.gate_apply_to != "all":
            return []
        family = family_of(request)
        facts = replace(self._facts(job, spec, report, request, family, hardware), **known)
        if stage == Stage.SUBMISSION:  # it was counted when it was taken; those taken since do not push it out
            facts = replace(facts, runs_today=0, requester_runs_today=0)
        else:
            facts = replace(facts, runs_today=max(facts.runs_today, runs_at_provider))
        results = evaluate(Gates.of(self._config, spec), facts)
        for result in results:
            if result.gate == _WORD and result.passage == Passage.WAIT:
                self._approvals.ask(_question(job, family, result.observed))
        require(results, stage)
        return results

    def tidy(self) -> None:
        """Withdraw the questions about jobs that are over. Raises :class:`~oracle.jobs.errors.JournalError`."""
        for question in self._approvals.waiting():
            row = self._journal.job(question.job_id)
            if row is None or row.step in (Step.DECLINING, Step.CLOSED):
                self._approvals.withdraw(question.job_id)

    def _facts(
        self,
        job: JobRow,
        spec: Mapping[str, Any],
        report: LintReport,
        request: RunRequest,
        family: str,
        hardware: bool,
    ) -> Facts:
        terms = job.terms
        known = self._approvals.of(job.job_id)
        others = {"except_job": job.job_id, "choice": HARDWARE_CHOICE if hardware else None}
        day = time.time() - DAY
        return Facts(
            hardware=hardware,
            qubits=report.qubits,
            gates=report.expanded_gates,
            shots=request.shots,
            charge=charge_for(spec, self._config, report.executions, hardware=hardware),
            cap=terms.budget - terms.validator_fee,
            budget=terms.budget,
            validation_method=spec["validation"]["method"],
            parties=(terms.requester, self._oracle, terms.validator, terms.arbiter),
            runs_today=self._journal.taken_since(day, **others),
            requester_runs_today=self._journal.taken_since(day, **others, requester=terms.requester),
            known_family=self._approvals.knows_family(family),
            known_requester=self._is_known(terms),
            approval=known.approved if known is not None and _is_about(known, terms) else None,
            queue_tolerance=spec["quantum"]["constraints"]["max_queue_minutes"],
        )

    def _is_known(self, terms: Terms) -> bool:
        listed = terms.requester in self._config.gate_known_requesters
        return listed or self._approvals.knows_requester(terms.requester)


def family_of(request: RunRequest) -> str:
    """The family of what is to be run; of several circuits each counts, as OpenQASM.

    JSON is no OpenQASM: what looks like a comment there would hide all that follows.
    """
    work = read_work(request.source, request.format, request.limits, request.observables)
    families = [circuit_family(circuit.text()) for circuit in work.circuits]
    return families[0] if len(families) == 1 else hashlib.sha256("".join(families).encode()).hexdigest()


def _is_about(asked: Request, terms: Terms) -> bool:
    """Whether what was asked about is this job. Since then an open one may have been taken, and promotion may have
    raised its budget."""
    before = (replace(terms, oracle=oracle, budget=int(asked.budget)) for oracle in (terms.oracle, ZERO_ADDRESS))
    return asked.terms == terms.hash().hex() or asked.terms in [each.hash().hex() for each in before]


def _question(job: JobRow, family: str, causes: str) -> Request:
    terms = job.terms
    return Request(job.job_id, terms.hash().hex(), terms.requester, family, str(terms.budget), causes, 0.0)
