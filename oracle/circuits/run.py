"""One run of a circuit: what is asked and what comes back."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any

from oracle.circuits.analysis import ANALYSE, AUTOMATIC, METHODS, PLAIN, Analysis
from oracle.circuits.instructions import Part, parts, read_work
from oracle.circuits.limits import CircuitLimits
from oracle.circuits.lint import COUNTS, EXPECTATION, MEMORY, LintReport, lint
from oracle.circuits.observables import Observable, bases, bound, parse_observables
from oracle.jobs.errors import CircuitRejected
from oracle.jobs.noise import NOISELESS, Noise

SIMULATOR = "aer"
"""What a spec calls a simulator that may choose its method; :data:`SIMULATOR`, a dot and a method is that one."""


def named_methods(quantum: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The methods of a simulator to which the section ``quantum`` of a spec restricts itself, ``None`` if it does
    not."""
    allowed = quantum.get("constraints", {}).get("allowed_backends", [])
    named = tuple(method for method in METHODS if f"{SIMULATOR}.{method}" in allowed)
    return named if named and SIMULATOR not in allowed else None


@dataclass(frozen=True)
class RunRequest:
    """``source`` is a circuit document as bytes, ``format`` one of :data:`oracle.circuits.lint.FORMATS`.

    ``method`` is one of :data:`oracle.circuits.analysis.REQUESTS`; asked to analyse, a run ends with an
    :class:`~oracle.circuits.analysis.Analysis` in place of a result, asked for plain circuits with a circuit document
    (:func:`oracle.circuits.plain.plain_document`) that is as untrusted as the source. ``threads`` are for one run;
    seeded counts do not depend on them. ``result`` says what to bring back: ``counts``, ``memory`` (counts, and every
    shot in order) or ``expectation`` (values of ``observables``, unless the document's PUBs name their own). Every
    circuit takes ``shots``, with ``noise`` after its gates. Where the method is left open, it is one of ``methods``;
    ``insisted`` says that the spec names these.
    """

    source: bytes
    format: str
    shots: int
    seed: int | None
    limits: CircuitLimits
    method: str = AUTOMATIC
    threads: int = 1
    result: str = COUNTS
    observables: tuple[Observable, ...] = ()
    methods: tuple[str, ...] = METHODS
    insisted: bool = False
    noise: Noise = NOISELESS

    @classmethod
    def of_spec(cls, source: bytes, quantum: Mapping[str, Any], seed: int | None, limits: CircuitLimits) -> RunRequest:
        """What the section ``quantum`` of a spec asks for. Raises :class:`CircuitRejected` for bad observables."""
        observables = parse_observables(quantum.get("observables", []))
        result = quantum.get("result", COUNTS)
        asked = {"result": result, "observables": observables, "noise": Noise.of_spec(quantum)}
        request = cls(source, quantum["format"], quantum["shots"], seed, limits, **asked)
        named = named_methods(quantum)
        return request if named is None else replace(request, methods=named, insisted=True)

    def lint(self) -> LintReport:
        """How large it is, without any parser. Raises :class:`CircuitRejected`, also for the shots."""
        report = lint(self.source, self.format, self.limits, result=self.result, observables=self.observables)
        total, limit = self.shots * report.executions, self.limits.shots
        if not 1 <= total <= limit:
            code = "too_many_shots" if total > limit else "no_shots"
            raise CircuitRejected(code, f"asks for {total} shots, the limit is {limit}")
        if report.shots not in (None, self.shots):
            text = f"the circuit says {report.shots} shots, the job {self.shots}"
            raise CircuitRejected("shots_mismatch", text, field="circuit", remedy="leave them to the job")
        return report

    def parts(self) -> list[Part]:
        """Its circuits in order, parameters filled in. Raises :class:`CircuitRejected`."""
        return list(parts(read_work(self.source, self.format, self.limits, self.observables)))

    def outcome(self, document: Any) -> Any:
        """What a sandboxed process sent in answer, checked unless it is a circuit document again. Raises
        :class:`CircuitRejected`."""
        if self.method == PLAIN:
            return document
        if self.method == ANALYSE:
            return Analysis.from_untrusted(document)
        return RunResult.from_untrusted(document, self)


@dataclass(frozen=True)
class RunResult:
    """What a simulator measured.

    ``counts`` maps bit strings in Qiskit's order (classical bit 0 last, registers joined without spaces) to
    how often they occurred. ``engine`` names simulator and method, ``versions`` the packages.
    ``transpiled_digest`` is the hex sha-256 of the executed circuit's instructions
    (:func:`oracle.circuits.load.instructions_digest`). ``confinement`` says what held the process in:
    ``seccomp+rlimits`` or ``rlimits``. ``seconds`` has one entry per phase. ``threads`` is how many the
    simulator was given, ``noise`` the rates of :class:`~oracle.jobs.noise.Noise`, empty without noise.

    ``runs`` is empty for one circuit and its counts. Otherwise it has an entry for every circuit, in the order of
    :meth:`RunRequest.parts`: ``pub`` and ``set`` (its place), ``seed``, ``method``, ``transpiled_digest`` and, by kind,
     - counts: ``counts``;
     - memory: ``counts`` and ``memory``, the outcome of every shot in order;
     - expectation: ``values`` and ``standard_errors`` (of the mean, from the shots) of the observables, and ``bases``,
       a list of ``{"basis", "counts"}``; outcomes have one bit for each letter of the basis but ``I``.
    The fields above are then those of what ran first. What a job runs is numbered from 0, bases one by one, and number
    n takes ``seed`` + n (mod 2³²); a circuit's ``seed`` is that of its first run.
    """

    counts: dict[str, int]
    shots: int
    seed: int
    qubits: int
    clbits: int
    depth: int
    operations: dict[str, int]
    method: str
    engine: str
    versions: dict[str, str]
    transpiled_digest: str
    confinement: str
    seconds: dict[str, float]
    threads: int = 1
    runs: list[dict[str, Any]] = field(default_factory=list)
    noise: dict[str, float] = field(default_factory=dict)

    @classmethod
    def from_untrusted(cls, document: Any, request: RunRequest) -> RunResult:
        """The result a sandboxed process sent; the circuit may have taken it over, so all is checked.

        Raises :class:`CircuitRejected` with code ``bad_result``.
        """
        try:
            result = cls(**document)
            problem = _problem(result, request)
        except (TypeError, ValueError, AttributeError, LookupError):
            problem = "it is malformed"
        if problem:
            raise CircuitRejected("bad_result", f"the simulator's answer cannot be used: {problem}")
        return result


class Run(Future["RunResult | Analysis"]):
    """A run submitted to an executor. Unlike other futures, :meth:`cancel` also stops one under way.

    For executors: ``stop(run)`` is called once if a run under way is cancelled, and has to make it end soon;
    :attr:`stopping` is true by then. A run ends through :meth:`settle`.
    """

    def __init__(self, stop: Callable[[Run], None]):
        super().__init__()
        self._stop = stop
        self._turn = threading.RLock()  # cancelling and settling take turns
        self.stopping = False

    def cancel(self) -> bool:
        """Stop the run; false if it has ended already, otherwise it ends as cancelled."""
        if super().cancel():
            return True
        with self._turn:
            if self.done():
                return self.cancelled()
            first, self.stopping = not self.stopping, True
        if first:
            self._stop(self)
        return True

    def cancelled(self) -> bool:
        """Whether it was cancelled, before or while it ran."""
        return super().cancelled() or (self.done() and isinstance(self.exception(), CancelledError))

    def settle(self, outcome: RunResult | Analysis | BaseException) -> None:
        """End a run under way with its result or its failure; one that has ended stays as it is."""
        with self._turn:
            if self.done():
                return
            if self.stopping:
                self.set_exception(CancelledError())
            elif isinstance(outcome, BaseException):
                self.set_exception(outcome)
            else:
                self.set_result(outcome)


def _problem(result: RunResult, request: RunRequest) -> str:
    width = result.clbits
    numbers = (result.shots, result.seed, result.qubits, width, result.depth, result.threads)
    if not all(_is_count(number) for number in numbers):
        return "a number is not one"
    if result.threads != request.threads or result.noise != request.noise.as_dict():
        return "it was made in another way"
    if result.shots != request.shots or (request.seed is not None and result.seed != request.seed):
        return "it is for another run"
    if not 0 < width <= request.limits.clbits or not 0 < result.qubits <= request.limits.qubits:
        return "its width is out of range"
    labels = (
        result.method,
        result.engine,
        result.confinement,
        *result.operations,
        *result.versions,
        *result.seconds,
    )
    if not all(_is_label(label) for label in (*labels, *result.versions.values())):
        return "a label is not one"
    if max(len(result.operations), len(result.versions), len(result.seconds)) > 256:
        return "a table is too long"
    if not all(_is_count(number) for number in result.operations.values()):
        return "a number of operations is not one"
    if not all(_is_real(span) and span >= 0 for span in result.seconds.values()):
        return "a time is not one"
    return (
        _digest_problem(result.transpiled_digest)
        or _counts_problem(result.counts, width, request)
        or _runs_problem(result, request)
    )


def _digest_problem(digest: Any) -> str:
    return "" if re.fullmatch(r"[0-9a-f]{64}", digest) else "a digest is not one"


def _counts_problem(counts: Any, width: int | None, request: RunRequest) -> str:
    """``width`` is ``None`` where the request does not tell it: then all outcomes must have the first one's."""
    if not 0 < len(counts) <= request.limits.outcomes:
        return "it has no outcomes or too many"
    outcome = re.compile(f"[01]{{{width or min(len(next(iter(counts))), request.limits.clbits) or 1}}}")
    if not all(outcome.fullmatch(key) for key in counts):
        return "an outcome is not a bit string of the circuit's width"
    if not all(_is_count(number) and number > 0 for number in counts.values()):
        return "a count is not a positive number"
    return "" if sum(counts.values()) == request.shots else "the counts do not add up to the shots"


def _runs_problem(result: RunResult, request: RunRequest) -> str:
    expected = request.parts()
    if not isinstance(result.runs, list):
        return "its circuits are no list"
    if len(expected) == 1 and request.result == COUNTS:
        return "it has circuits that were not asked for" if result.runs else ""
    if len(result.runs) != len(expected):
        return "it has more circuits than were asked for, or fewer"
    problems = (_run_problem(run, part, request) for run, part in zip(result.runs, expected, strict=True))
    if problem := next(filter(None, problems), ""):
        return problem
    first = result.runs[0]["bases"][0] if request.result == EXPECTATION else result.runs[0]
    return "" if first["counts"] == result.counts else "its counts are not those of its first circuit"


_RUN_FIELDS = {
    COUNTS: {"counts"},
    MEMORY: {"counts", "memory"},
    EXPECTATION: {"values", "standard_errors", "bases"},
}


def _run_problem(run: Any, part: Part, request: RunRequest) -> str:
    if run.keys() != {"pub", "set", "seed", "method", "transpiled_digest"} | _RUN_FIELDS[request.result]:
        return "a circuit's result has other fields"
    if not all(_is_count(run[name]) for name in ("pub", "set", "seed")) or not _is_label(run["method"]):
        return "a number or label of a circuit is not one"
    if (run["pub"], run["set"]) != (part.pub, part.set):
        return "its circuits are out of order"
    problem = _digest_problem(run["transpiled_digest"])
    if request.result == EXPECTATION:
        return problem or _estimates_problem(run, part, request)
    problem = problem or _counts_problem(run["counts"], None, request)
    return problem or (_memory_problem(run, request) if request.result == MEMORY else "")


def _memory_problem(run: Mapping[str, Any], request: RunRequest) -> str:
    memory = run["memory"]
    if not isinstance(memory, list) or len(memory) != request.shots:
        return "it has not one outcome per shot"
    return "" if dict(Counter(memory)) == run["counts"] else "its shots are not those of its counts"


def _estimates_problem(run: Mapping[str, Any], part: Part, request: RunRequest) -> str:
    wanted = bases(part.observables, request.limits)
    if [each["basis"] for each in run["bases"]] != wanted or any(len(each) != 2 for each in run["bases"]):
        return "it was measured in other bases"
    for each in run["bases"]:
        width = len(each["basis"]) - each["basis"].count("I")
        if problem := _counts_problem(each["counts"], width, request):
            return problem
    values, errors = run["values"], run["standard_errors"]
    if not len(values) == len(errors) == len(part.observables):
        return "it has not one value and one error per observable"
    for value, error, observable in zip(values, errors, part.observables, strict=True):
        most = bound(observable) * (1 + 1e-9)
        if not (_is_real(value) and _is_real(error) and abs(value) <= most and 0 <= error <= most):
            return "a value or its error is out of range"
    return ""


_LABEL = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,79}")


def _is_label(value: Any) -> bool:
    return _LABEL.fullmatch(value) is not None


def _is_real(value: Any) -> bool:
    """A finite number that survives JSON everywhere: whole ones within 53 bits."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**53
    return isinstance(value, float) and math.isfinite(value)


def _is_count(value: object) -> bool:
    """A number that survives JSON everywhere: whole, not negative, within 53 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
