"""Optimisation and benchmark results: is everything there that somebody needs to understand and repeat them?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from oracle.validation.verdict import Check, Outcome

# What a benchmark needs to be repeated: raw results, where they come from, and the exact question.
_RAW = ("counts", "memory", "values")
_BENCHMARK = (
    "shots",
    "seconds",
    "backend.name",
    "backend.method",
    "backend.engine",
    "backend.versions",
    "circuit.transpiled_digest",
    "circuit.depth",
    "circuit.operations",
    "spec.quantum.circuit",
    "spec.quantum.format",
    "spec.quantum.shots",
)
# What an optimisation run says about itself, in the result's section ``optimization``.
_OPTIMIZATION = ("best.value", "best.parameters", "history", "optimizer.name", "optimizer.settings", "stopped")
STOPPED = ("converged", "iterations", "evaluations", "time")
MAX_HISTORY = 1_000_000
_SAME = 1e-9
# Converged means that the last tenth of the evaluations improved the best value by less than this share of the range.
_FLAT = 0.01


def benchmark_checks(result: Mapping[str, Any]) -> list[Check]:
    """One check that nothing is missing of raw results, backend details and the reproducible spec."""
    missing = [path for path in _BENCHMARK if _at(result, path) in (None, "", {}, [])]
    if all(_at(result, name) in (None, {}, []) for name in _RAW):
        missing.append(" or ".join(_RAW))
    if _at(result, "seed") is None and _at(result, "backend.job_id") is None:
        missing.append("seed or backend.job_id")
    return [_presence("complete", missing, "raw results, backend details and the spec are there")]


def optimization_checks(result: Mapping[str, Any]) -> list[Check]:
    """Checks of the section ``optimization``: its parts, that the best value is that of the history, convergence.

    ``history`` lists the objective of every evaluation in order; ``goal`` is ``minimize`` (the default) or
    ``maximize``; ``stopped`` says why it ended, one of :data:`STOPPED`.
    """
    run = result.get("optimization")
    if not isinstance(run, Mapping):
        return [Check("run", None, "the result describes no optimisation run, only measurements")]
    missing = [path for path in _OPTIMIZATION if _at(run, path) is None]
    if missing:
        return [_presence("run", [f"optimization.{path}" for path in missing], "")]
    history = run["history"]
    usable = isinstance(history, list) and 0 < len(history) <= MAX_HISTORY and all(map(_is_number, history))
    if not usable or not _is_number(run["best"]["value"]):
        return [Check("run", Outcome.REJECT, "the best value or the history is not made of finite numbers")]
    if run.get("goal", "minimize") not in ("minimize", "maximize") or run["stopped"] not in STOPPED:
        return [Check("run", Outcome.REJECT, "the goal or the reason for stopping is not a known one")]
    return [_presence("run", [], "the optimiser, its settings and its history are there"), *_progress(run)]


def _progress(run: Mapping[str, Any]) -> Iterator[Check]:
    sign = -1 if run.get("goal") == "maximize" else 1
    history = [sign * value for value in run["history"]]
    claimed, best = sign * run["best"]["value"], min(history)
    same = abs(claimed - best) <= _SAME * max(abs(best), 1.0)
    reason = f"the best of {len(history)} evaluations is {sign * best:.6g}, {sign * claimed:.6g} is claimed"
    yield Check("best value", Outcome.ACCEPT if same else Outcome.REJECT, reason, sign * claimed, sign * best)
    late = len(history) - max(len(history) // 10, 1)
    gain = min(history[:late], default=math.inf) - best
    span = max(history) - best
    flat = len(history) >= 10 and gain <= _FLAT * span
    if flat:
        yield Check("convergence", None, f"the last tenth of the evaluations gained {max(gain, 0):.3g}", max(gain, 0))
    else:
        odd = Outcome.FLAG if run["stopped"] == "converged" else None
        yield Check("convergence", odd, "the value was still improving, or too few evaluations were made to tell")


def _presence(name: str, missing: list[str], complete: str) -> Check:
    if missing:
        return Check(name, Outcome.REJECT, f"missing: {', '.join(missing)}", len(missing), 0)
    return Check(name, Outcome.ACCEPT, complete, 0, 0)


def _at(document: Any, path: str) -> Any:
    for key in path.split("."):
        if not isinstance(document, Mapping):
            return None
        document = document.get(key)
    return document


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
