"""What a circuit is, and what each simulation method would need for it.

:func:`analyse` and :func:`probe` look at a loaded circuit and run inside the sandbox only. Everything else is
arithmetic on their figures, for the router and the node; nothing here depends on clocks or on chance, so the same
circuit is always judged alike.

The seconds are those of one thread of the machine that ``benchmarks/routing.py`` names: good for telling methods
apart, within a small factor of the truth elsewhere.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from oracle.circuits.limits import CircuitLimits
from oracle.jobs.errors import CircuitRejected

# What a RunRequest may ask for beside one of METHODS by name: the best method, the best among those whose seeded
# counts are the same everywhere, or no run at all but an Analysis, or the circuits written plainly.
AUTOMATIC, REPRODUCIBLE, ANALYSE, PLAIN = "automatic", "reproducible", "analyse", "plain"
STIM, STABILIZER, STATEVECTOR = "stim", "stabilizer", "statevector"
MPS, DENSITY_MATRIX = "matrix_product_state", "density_matrix"
QSIM = "qsim"
# In the order of preference among those about as fast. Never Aer's extended_stabilizer: its counts are wrong
# (Qiskit/qiskit-aer#2315).
METHODS = (STABILIZER, STATEVECTOR, MPS, DENSITY_MATRIX, STIM, QSIM)
# Those that every worker has; qsim comes with the extra ``fast``.
BUILT_IN = (STABILIZER, STATEVECTOR, MPS, DENSITY_MATRIX, STIM)
REQUESTS = (AUTOMATIC, REPRODUCIBLE, ANALYSE, PLAIN, *METHODS)

# Bond dimensions that a probe tries, in turn.
PROBE_BONDS = (16, 32, 64, 128)
# The sum of squared amplitudes thrown away that still counts as none: rounding.
NEGLIGIBLE_WEIGHT = 1e-10
# Thrown away already at a small bond dimension, it takes far more than twice that dimension to keep.
_HOPELESS_WEIGHT = 5.0
# A run this short is not worth a probe; of a longer one, what a probe may cost, gate by gate.
_PROBE_FLOOR_SECONDS, _PROBE_SHARE = 2.0, 1 / 8
# Aer's log of bond dimensions has one line for every two-qubit gate and one number a qubit in it.
_MOST_LOGGED_BONDS = 4_000_000
# How much a method may be slower than the best and still count as equal, and what stim and qsim have to save: the one
# repeats its samples for the same seed on one kind of machine only, the other is not everywhere.
_EQUAL_SECONDS, _WORTH_LEAVING_AER_SECONDS = 0.005, 0.1

_COMPLEX_BYTES, _SINGLE_COMPLEX_BYTES = 16, 8
_MOST_REPEATS = 10**9
# Beyond it amplitudes are not counted any more, so that every figure stays a number.
_UNTHINKABLE_BITS = 60
# Measured on one thread; see benchmarks/routing.py.
_FIXED_SECONDS, _PER_GATE, _PER_SHOT = 0.002, 1.3e-5, 1.5e-6
_PER_REPEATED_GATE, _PER_LOGGED_BOND = 3e-6, 2e-7
_PER_AMPLITUDE, _PER_MATRIX_ELEMENT = 2.4e-9, 7e-9
# With noise: what drawing it costs a shot, and a gate of a density matrix once and every time again.
_PER_NOISY_SHOT, _PER_NOISY_GATE, _PER_REPEATED_NOISY_GATE = 7e-5, 2e-4, 6e-5
_PER_TABLEAU_SHOT = 1.2e-10  # times qubits cubed
_PER_BOND_GATE, _PER_BOND_CUBED = 5e-6, 2.2e-8
_PER_SITE_SHOT, _PER_SITE_BOND_SQUARED = 2.5e-6, 2.2e-8
_STIM_PER_GATE, _STIM_PER_SHOT_BIT = 4e-6, 4e-9
# Gates on one qubit cost qsim next to nothing: they become part of those on two.
_QSIM_PER_GATE, _QSIM_PER_AMPLITUDE, _QSIM_PER_SAMPLED_AMPLITUDE = 6e-6, 5e-10, 8e-9
_QSIM_WIDER, _QSIM_PER_SHOT, _QSIM_BYTES_PER_SHOT = 4, 4e-7, 140
# How far one gate can turn the state by being rounded to single precision (4.2e-8 was reached, with angles made for
# it), and how likely an outcome may be, among all shots, that could not occur without that.
_SINGLE_TURN, _IMPOSSIBLE_RISK = 1e-7, 1e-3

_T_COUNT = {"t": 1, "tdg": 1, "ccx": 7, "ccz": 7, "cswap": 7, "rccx": 4, "ch": 2, "cs": 3, "csdg": 3, "csx": 3}
_ROTATION_NAMES = "p rx ry rz u u1 u2 u3 r rxx ryy rzz rzx cp cu1 crx cry crz cu cu3 gphase"
_ROTATIONS = frozenset(_ROTATION_NAMES.split())
_PHASES = frozenset(("p", "u1", "rz"))
# As sums of products across any cut of their qubits these need two terms; swap and the like need four.
_TWO_TERM_NAMES = "cx cy cz ch cp cs csdg csx cu cu1 cu3 crx cry crz rxx ryy rzz rzx ecr ccx ccz c3x c3sqrtx c4x"
_TWO_TERMS = frozenset(_TWO_TERM_NAMES.split())
_NO_GATES = ("measure", "reset", "barrier")
# What Aer's stabilizer runs as one gate.
_TABLEAU_NAMES = "id x y z h s sdg sx sxdg rz cx cy cz ecr swap"
_OF_THE_TABLEAU = frozenset((*_NO_GATES, *_TABLEAU_NAMES.split()))
# Gates that turn every bit string into one, and those that turn it into two at most.
_ONE_WAY_NAMES = (
    "id x y z s sdg t tdg p u1 rz cx cy cz cs csdg cp cu1 crz rzz swap ccx ccz cswap rccx rc3x c3x c4x global_phase"
)
_ONE_WAY = frozenset(_ONE_WAY_NAMES.split())
_TWO_WAY_NAMES = "h sx sxdg r rx ry u u2 u3 ch crx cry cu cu3 csx rxx ryy rzx ecr c3sqrtx"
_TWO_WAYS = frozenset(_TWO_WAY_NAMES.split())
_MOST_WAYS_BITS = 5  # no gate has more wires


@dataclass(frozen=True)
class Probe:
    """A run of one shot as a matrix product state of bond dimension at most ``cap``: the largest one it reached, the
    weight it threw away, and the sum of the cubes of the bond dimensions its gates met."""

    cap: int
    bond_dimension: int
    discarded_weight: float
    work: int

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding was thrown away, so that no larger bond dimension is ever needed."""
        return self.discarded_weight <= NEGLIGIBLE_WEIGHT


@dataclass(frozen=True)
class Analysis:
    """A circuit in figures, gate definitions unfolded.

    ``active_qubits`` are those that anything happens to. ``gates`` leaves out measurements, resets and barriers;
    ``families`` sorts them into ``clifford``, ``t``, ``rotation`` and ``other``. ``t_count`` is that of the gates as
    written, ``rotation`` angles not among them. ``clifford`` says that plain Clifford gates make up the whole circuit.
    ``bond_bits`` bounds the logarithm (base 2) of the bond dimension over all cuts of the qubits in their order, and
    ``crossings`` counts gates times cuts they cross. ``outcome_bits`` bounds the logarithm of the number of different
    outcomes. ``repeats`` is 1, or for one of several circuits of a job, as many times as long as this one all of them
    take together. ``mid_circuit`` says that something follows a measurement on its
    qubit, ``feed_forward`` that something depends on an outcome, ``noisy`` that noise follows its gates.
    """

    qubits: int
    active_qubits: int
    clbits: int
    depth: int
    gates: int
    operations: dict[str, int]
    families: dict[str, int]
    two_qubit_gates: int
    wider_gates: int
    t_count: int
    clifford: bool
    measurements: int
    resets: int
    mid_circuit: bool
    feed_forward: bool
    bond_bits: int
    crossings: int
    probe: Probe | None = None
    outcome_bits: int = 60
    repeats: float = 1.0
    noisy: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_untrusted(cls, document: Any) -> Analysis:
        """The analysis that a sandboxed process sent; the circuit may have taken it over, so all is checked.

        Raises :class:`CircuitRejected` with code ``bad_result``.
        """
        try:
            probe = document.get("probe")
            analysis = cls(**{**document, "probe": None if probe is None else Probe(**probe)})
            good = _is_sound(analysis)
        except (TypeError, ValueError, AttributeError):
            good = False
        if not good:
            raise CircuitRejected("bad_result", "the analysis of the circuit cannot be used")
        return analysis

    @property
    def dynamic(self) -> bool:
        """Whether simulating a state means doing so for every shot."""
        return self.mid_circuit or self.feed_forward or self.resets > 0 or self.noisy


@dataclass(frozen=True)
class Forecast:
    """What one method is expected to take: ``seconds`` on one thread, ``memory_bytes``, and if it cannot take the
    circuit at all, the ``code`` of the reason and the reason as ``text``."""

    method: str
    seconds: float
    memory_bytes: int
    code: str = ""
    text: str = ""


# --------------------------------------------------------------------------------------- in the sandbox


def analyse(circuit: Any, *, noisy: bool = False) -> Analysis:
    """The figures of ``circuit``, whose gates must be Qiskit's own; without a probe. Linear in its size.

    ``noisy`` says that it is to run with noise, which may turn every bit."""
    from oracle.circuits.load import depth_of

    width = circuit.num_qubits
    families: Counter[str] = Counter()
    figures: Counter[str] = Counter()
    starts, ranks = [0] * (width + 1), [0] * (width + 1)
    touched: set[int] = set()
    measured: set[int] = set()
    mid_circuit = feed_forward = synchronised = False
    layers, bits = [0] * (width + circuit.num_clbits), {bit: width + n for n, bit in enumerate(circuit.clbits)}
    kinds: dict[str, _Kind] = {}  # of gates without angles: each is looked at once
    for step, qubits, conditional in _steps(circuit, list(range(width))):
        name = step.name
        if name == "barrier":
            synchronised = True
            continue
        if len(touched) < width:
            touched.update(qubits)
        feed_forward |= conditional
        if measured:
            mid_circuit |= not measured.isdisjoint(qubits)
        if name in _NO_GATES:
            figures[name] += 1
            if name == "measure":
                measured.update(qubits)
                qubits += [bits[bit] for bit in step.clbits if not conditional]
            _put_on(layers, qubits)
            continue
        kind = kinds.get(name)
        if kind is None:
            kind = _kind(name, step.params)
            if not step.params:
                kinds[name] = kind
        families[kind.family] += 1
        if kind.ways_bits:
            figures["ways"] += kind.ways_bits
        if kind.t_gates:
            figures["t"] += kind.t_gates
        if len(qubits) == 1:
            layers[qubits[0]] += 1
        elif qubits:
            _put_on(layers, qubits)
            figures["two" if len(qubits) == 2 else "wider"] += 1
            terms = 1 if name in _TWO_TERMS else 2 * (len(qubits) // 2)
            first, last = min(qubits), max(qubits)
            starts[first] += 1
            starts[last] -= 1
            ranks[first] += terms
            ranks[last] -= terms
    gates = sum(families.values())
    return Analysis(
        qubits=width,
        active_qubits=len(touched),
        clbits=circuit.num_clbits,
        depth=depth_of(circuit) if synchronised or feed_forward else max(layers, default=0),
        gates=gates,
        operations={name: int(number) for name, number in sorted(circuit.count_ops().items())},
        families=dict(sorted(families.items())),
        two_qubit_gates=figures["two"],
        wider_gates=figures["wider"],
        t_count=figures["t"],
        clifford=families["clifford"] == gates and not feed_forward,
        measurements=figures["measure"],
        resets=figures["reset"],
        mid_circuit=mid_circuit,
        feed_forward=feed_forward,
        bond_bits=max((min(r, i + 1, width - 1 - i) for i, r in enumerate(_sums(ranks)[:-1])), default=0),
        crossings=sum(_sums(starts)),
        outcome_bits=circuit.num_clbits if noisy else min(figures["ways"], circuit.num_clbits),
        noisy=noisy,
    )


def wants_probe(analysis: Analysis, shots: int, limits: CircuitLimits, *, qsim: bool = False) -> bool:
    """Whether a probe could find a better method than those that need none; ``qsim`` says whether that is one of
    them."""
    if analysis.two_qubit_gates + analysis.wider_gates == 0 or analysis.dynamic:
        return False
    if analysis.active_qubits * analysis.two_qubit_gates > _MOST_LOGGED_BONDS:
        return False
    return _bound_is_useless(analysis) and _best(analysis, shots, limits, qsim) > _PROBE_FLOOR_SECONDS


def probe(circuit: Any, analysis: Analysis, shots: int, limits: CircuitLimits, *, qsim: bool = False) -> Probe | None:
    """Try ``circuit``, compiled for the method, as a matrix product state with growing bond dimensions: until
    nothing is thrown away, or the next attempt would cost more than it may save, with ``qsim`` or without. Seeds and
    shots do not matter."""
    budget = min(limits.cpu_seconds, _best(analysis, shots, limits, qsim)) * _PROBE_SHARE
    found = None
    for cap in PROBE_BONDS:
        work = found.work * 8 if found else analysis.crossings * cap**3
        seconds = analysis.crossings * _PER_LOGGED_BOND * analysis.active_qubits + work * _PER_BOND_CUBED
        if seconds > budget or _mps_bytes(analysis, cap) > limits.memory_bytes:
            break
        found = _attempt(circuit, cap)
        if found.exact or found.discarded_weight > _HOPELESS_WEIGHT:
            break
    return found


def _attempt(circuit: Any, cap: int) -> Probe:
    one_gate = circuit.copy_empty_like()
    one_gate.cx(0, 1)
    one_gate.measure(0, 0)
    earlier = len(_log(one_gate, cap))  # Aer goes on with one log for all runs of a process
    log = _log(circuit, cap)[earlier:]
    largest, work = 1, 0
    for bonds in re.finditer(r"BD=\[([0-9 ]*)\]", log):
        at = max(map(int, bonds[1].split()), default=1)
        largest, work = max(largest, at), work + at**3
    lost = sum(float(value) for value in re.findall(r"discarded_value=([0-9.e+-]+)", log))
    return Probe(cap, largest, lost, work)


def _log(circuit: Any, cap: int) -> str:
    from oracle.circuits.simulate import simulator

    job = simulator(MPS).run(
        circuit, shots=1, seed_simulator=0, mps_log_data=True, matrix_product_state_max_bond_dimension=cap
    )
    return job.result().results[0].metadata["MPS_log_data"].rstrip("}")


def _put_on(layers: list[int], places: list[int]) -> None:
    """One more layer on all of ``places``, above the highest of them."""
    layer = 1 + max([layers[place] for place in places])
    for place in places:
        layers[place] = layer


def _steps(circuit: Any, places: list[int], conditional: bool = False) -> Iterator[tuple[Any, list[int], bool]]:
    """Instructions with the numbers of their qubits, those in the blocks of an `if` as well."""
    numbers = dict(zip(circuit.qubits, places, strict=True))
    for step in circuit.data:
        qubits = [numbers[bit] for bit in step.qubits]
        if not step.is_control_flow():
            yield step, qubits, conditional
            continue
        for block in step.operation.blocks:
            yield from _steps(block, qubits, conditional=True)


@dataclass(frozen=True)
class _Kind:
    """What a gate is, at its angles: its family, how many T gates it stands for, and into how many bit strings it
    turns one (base 2 logarithm)."""

    family: str
    t_gates: int
    ways_bits: int


def _kind(name: str, parameters: list[Any]) -> _Kind:
    from oracle.circuits.clifford import clifford_steps

    ways_bits = 0 if name in _ONE_WAY else 1 if name in _TWO_WAYS else _MOST_WAYS_BITS
    if clifford_steps(name, parameters) is not None:
        return _Kind("clifford", 0, ways_bits)
    if t_gates := _t_gates(name, parameters):
        return _Kind("t", t_gates, ways_bits)
    return _Kind("rotation" if name in _ROTATIONS else "other", 0, ways_bits)


def _t_gates(name: str, parameters: list[Any]) -> int:
    if name in _PHASES:
        turns = float(parameters[0]) / (math.pi / 4)
        return int(round(turns) % 2 == 1 and abs(turns - round(turns)) < 1e-9)
    return _T_COUNT.get(name, 0)


def _sums(differences: list[int]) -> list[int]:
    sums, total = [], 0
    for value in differences:
        total += value
        sums.append(total)
    return sums


# ------------------------------------------------------------------------------------ arithmetic only


def forecasts(analysis: Analysis, shots: int) -> dict[str, Forecast]:
    """What each of :data:`METHODS` would take for ``shots`` shots, by name; for all circuits of the job together."""
    once = {method: _FORECASTS[method](analysis, shots) for method in METHODS}
    return {method: replace(each, seconds=each.seconds * analysis.repeats) for method, each in once.items()}


def objection(
    forecast: Forecast,
    limits: CircuitLimits,
    *,
    reproducible: bool,
    allowed: Collection[str] = METHODS,
    insisted: bool = False,
) -> tuple[str, str]:
    """Why a method cannot take the circuit within ``limits.memory_bytes``: code and sentence, empty if it can.

    ``insisted`` says that the spec names the methods it wants, so that whoever repeats the run knows.
    """
    if forecast.method not in allowed:
        return "method_not_allowed", f"the operator allows {', '.join(allowed)} only"
    if forecast.code:
        return forecast.code, forecast.text
    if forecast.memory_bytes > limits.memory_bytes:
        return "too_much_memory", (
            f"needs {size(forecast.memory_bytes)} of memory, {size(limits.memory_bytes)} are allowed"
        )
    if reproducible and forecast.method == STIM:
        return "not_reproducible", (
            "the job has to be repeatable bit for bit, and stim repeats its samples only in the same version on the "
            "same kind of processor; without seed, replay and agreement it would pass"
        )
    if reproducible and forecast.method == QSIM and not insisted:
        return "not_reproducible", (
            "the job has to be repeatable by others, who may not have it; if allowed_backends names it, or without "
            "seed, replay and agreement, it would pass"
        )
    return "", ""


def choose(
    analysis: Analysis,
    shots: int,
    limits: CircuitLimits,
    *,
    reproducible: bool,
    allowed: Collection[str] = BUILT_IN,
    insisted: bool = False,
) -> tuple[str, dict[str, tuple[str, str]]]:
    """The fastest method that can take the circuit (empty if there is none), and each one's :func:`objection`.

    Time is only compared here: how much is too much depends on who asks. Aer's methods, whose seeded counts can be
    repeated elsewhere, go before stim and qsim unless these save a tenth of a second.
    """
    all_of_them = forecasts(analysis, shots)
    objections = {
        method: objection(forecast, limits, reproducible=reproducible, allowed=allowed, insisted=insisted)
        for method, forecast in all_of_them.items()
    }
    free = [all_of_them[method] for method in METHODS if not objections[method][0]]
    fastest = min(map(_handicapped, free), default=0.0)
    equals = [forecast.method for forecast in free if _handicapped(forecast) <= fastest + _EQUAL_SECONDS]
    return (equals[0] if equals else ""), objections


def hardest(analyses: Sequence[Analysis], shots: int, limits: CircuitLimits) -> Analysis:
    """The one of several circuits of a job that takes longest by its best method, with its ``repeats`` and the
    ``qubits`` of the widest: no backend may be narrower."""
    seconds = [_best(each, shots, limits) for each in analyses]
    most = max(seconds)
    together = sum(seconds) / most if most < math.inf else len(seconds)
    widest = max(analysis.qubits for analysis in analyses)
    return replace(analyses[seconds.index(most)], qubits=widest, repeats=together)


def choose_or_refuse(
    analysis: Analysis,
    shots: int,
    limits: CircuitLimits,
    *,
    reproducible: bool,
    allowed: Collection[str] = BUILT_IN,
    insisted: bool = False,
) -> str:
    """As :func:`choose`; raises :class:`CircuitRejected` if no method is left."""
    method, objections = choose(analysis, shots, limits, reproducible=reproducible, allowed=allowed, insisted=insisted)
    if method:
        return method
    why = "; ".join(f"{name} {text if name == STATEVECTOR else code}" for name, (code, text) in objections.items())
    code = "too_much_memory" if objections[STATEVECTOR][0] == "too_much_memory" else "no_method"
    raise CircuitRejected(
        code,
        f"no simulator can take its {analysis.active_qubits} qubits: {why}"[:300],
        field="circuit",
        remedy="`qscrow simulate --explain` says what each would need",
    )


def refuse_unsuitable(method: str, analysis: Analysis, shots: int, limits: CircuitLimits) -> None:
    """Raise :class:`CircuitRejected` if ``method``, asked for by name, cannot take the circuit."""
    forecast = forecasts(analysis, shots)[method]
    code, text = objection(forecast, limits, reproducible=False)
    if code and code not in ("truncated", "bond_dimension_unknown"):  # its run has limits of its own
        raise CircuitRejected(code, f"{method}: {text}", field="method")


def size(number: float) -> str:
    """Bytes as people read them."""
    if number >= 2**60:
        return "an exbibyte or more"
    power = max(0, int(number).bit_length() - 1) // 10
    number /= 1024**power
    return f"{number:.0f} {_UNITS[power]}" if number >= 10 or not power else f"{number:.1f} {_UNITS[power]}"


def _statevector(analysis: Analysis, shots: int) -> Forecast:
    amplitudes = _power(analysis.active_qubits)
    state = _repeated(analysis.gates * amplitudes * _PER_AMPLITUDE, analysis.gates, analysis.dynamic, shots)
    seconds = _around(analysis, shots) + state + _drawn_noise(analysis, shots)
    return Forecast(STATEVECTOR, seconds, amplitudes * _COMPLEX_BYTES)


def _density_matrix(analysis: Analysis, shots: int) -> Forecast:
    """For resets and noise: they are part of the state's evolution here, where the others repeat every shot."""
    elements = _power(2 * analysis.active_qubits)
    repeats = analysis.mid_circuit or analysis.feed_forward
    state = _repeated(analysis.gates * elements * _PER_MATRIX_ELEMENT, analysis.gates, repeats, shots)
    if analysis.noisy:
        state += analysis.gates * (_PER_REPEATED_NOISY_GATE * shots if repeats else _PER_NOISY_GATE)
    return Forecast(DENSITY_MATRIX, _around(analysis, shots) + state, elements * _COMPLEX_BYTES)


def _stabilizer(analysis: Analysis, shots: int) -> Forecast:
    qubits = analysis.active_qubits
    once = analysis.gates * qubits * 1e-9
    seconds = _repeated(once, analysis.gates, analysis.dynamic, shots) + shots * qubits**3 * _PER_TABLEAU_SHOT
    seconds += _around(analysis, shots) + _drawn_noise(analysis, shots)
    return Forecast(STABILIZER, seconds, qubits**2, *_not_for_stabilizer(analysis))


def _stim(analysis: Analysis, shots: int) -> Forecast:
    bits = shots * max(1, analysis.measurements)
    seconds = _FIXED_SECONDS + analysis.gates * _STIM_PER_GATE + bits * _STIM_PER_SHOT_BIT
    memory = analysis.active_qubits**2 + 100 * analysis.gates + min(bits, 2**14 * analysis.clbits)
    return Forecast(STIM, seconds, memory, *_not_clifford(analysis))


def _qsim(analysis: Analysis, shots: int) -> Forecast:
    amplitudes = _power(analysis.active_qubits)
    passes = analysis.two_qubit_gates + _QSIM_WIDER * analysis.wider_gates
    evolved = amplitudes * (passes * _QSIM_PER_AMPLITUDE + _QSIM_PER_SAMPLED_AMPLITUDE)
    seconds = _FIXED_SECONDS + analysis.gates * _QSIM_PER_GATE + evolved + shots * _QSIM_PER_SHOT
    memory = amplitudes * _SINGLE_COMPLEX_BYTES + shots * _QSIM_BYTES_PER_SHOT
    return Forecast(QSIM, seconds, memory, *_not_for_single_precision(analysis, shots))


def _not_for_single_precision(analysis: Analysis, shots: int) -> tuple[str, str]:
    """What qsim cannot take: Born's rule is checked of results, so an outcome of probability 0 must not come up by
    rounding. The state is turned by at most so much a gate, and what it gains where it had nothing is the square."""
    if analysis.feed_forward:
        return "feed_forward", "gates depend on outcomes; a circuit without `if` would pass"
    if analysis.noisy:
        return "no_noise", "has no noise here; without it it would pass"
    if analysis.dynamic:
        return "mid_circuit", "takes measurements at the end only, and it measures or resets on the way"
    most = int(math.sqrt(_IMPOSSIBLE_RISK / max(shots, 1)) / _SINGLE_TURN)
    if analysis.gates > most:
        return "imprecise", (
            f"in single precision {analysis.gates} gates could give outcomes that cannot occur; at most {most} would "
            f"pass with {shots} shots"
        )
    return "", ""


def _mps(analysis: Analysis, shots: int) -> Forecast:
    probe, bits = analysis.probe, min(analysis.bond_bits, _UNTHINKABLE_BITS)
    exact = probe is not None and probe.exact
    bond = probe.bond_dimension if probe and exact else 2**bits
    work = probe.work if probe and exact else analysis.crossings * bond**3
    once = analysis.crossings * _PER_BOND_GATE + work * _PER_BOND_CUBED
    per_shot = analysis.active_qubits * (_PER_SITE_SHOT + bond**2 * _PER_SITE_BOND_SQUARED)
    seconds = _around(analysis, shots) + _repeated(once, analysis.gates, analysis.dynamic, shots) + shots * per_shot
    seconds += _drawn_noise(analysis, shots)
    code = text = ""
    if probe and not exact:
        code = "truncated"
        text = (
            f"bond dimension {probe.cap} would throw away a weight of {probe.discarded_weight:.3g}, summed over the "
            f"gates; at most {NEGLIGIBLE_WEIGHT:g} would pass, and larger bonds were not worth trying"
        )
    elif not exact and _bound_is_useless(analysis):
        code = "bond_dimension_unknown"
        unprobed = "no probe speaks for what noise makes of it" if analysis.noisy else "a probe was too dear"
        text = (
            f"its gates may entangle up to a bond dimension of 2^{analysis.bond_bits}, and {unprobed}; at "
            f"most 2^{_KNOWN_BITS} would pass without one"
        )
    return Forecast(MPS, seconds, _mps_bytes(analysis, bond), code, text)


_FORECASTS = {
    STATEVECTOR: _statevector,
    STABILIZER: _stabilizer,
    MPS: _mps,
    STIM: _stim,
    DENSITY_MATRIX: _density_matrix,
    QSIM: _qsim,
}
_KNOWN_BITS = 6
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def _bound_is_useless(analysis: Analysis) -> bool:
    return analysis.bond_bits > _KNOWN_BITS


def _best(analysis: Analysis, shots: int, limits: CircuitLimits, qsim: bool = False) -> float:
    """Seconds by the best method whose counts can be repeated anywhere, or by ``qsim``; infinite if there is none."""
    free = (
        forecast
        for forecast in forecasts(analysis, shots).values()
        if not objection(forecast, limits, reproducible=True, insisted=qsim)[0]
    )
    return min((forecast.seconds for forecast in free), default=math.inf)


def _not_clifford(analysis: Analysis) -> tuple[str, str]:
    if analysis.clifford:
        return "", ""
    if analysis.feed_forward:
        return "feed_forward", "gates depend on outcomes; a circuit without `if` would pass"
    others = ", ".join(f"{number} {family}" for family, number in analysis.families.items() if family != "clifford")
    return "not_clifford", f"takes Clifford gates only, and the circuit has others: {others}"


def _not_for_stabilizer(analysis: Analysis) -> tuple[str, str]:
    """With noise after every gate, none may be put together from several."""
    code, text = _not_clifford(analysis)
    others = sorted(analysis.operations.keys() - _OF_THE_TABLEAU)
    if code or not analysis.noisy or not others:
        return code, text
    return "not_one_gate", f"would put {', '.join(others)} together from several gates, each followed by noise"


def _handicapped(forecast: Forecast) -> float:
    return forecast.seconds + (_WORTH_LEAVING_AER_SECONDS if forecast.method in (STIM, QSIM) else 0.0)


def _around(analysis: Analysis, shots: int) -> float:
    return _FIXED_SECONDS + analysis.gates * _PER_GATE + shots * _PER_SHOT


def _repeated(seconds: float, gates: int, every_shot: bool, shots: int) -> float:
    return (seconds + gates * _PER_REPEATED_GATE) * shots if every_shot else seconds


def _drawn_noise(analysis: Analysis, shots: int) -> float:
    return shots * _PER_NOISY_SHOT if analysis.noisy else 0.0


def _mps_bytes(analysis: Analysis, bond: int) -> int:
    """Two matrices a site and one vector of singular values, and room to multiply them."""
    return 3 * analysis.active_qubits * 2 * bond**2 * _COMPLEX_BYTES


def _power(bits: int) -> int:
    return 2 ** min(bits, _UNTHINKABLE_BITS)


def _is_sound(analysis: Analysis) -> bool:
    counts = (
        analysis.qubits, analysis.active_qubits, analysis.clbits, analysis.depth, analysis.gates,
        analysis.two_qubit_gates, analysis.wider_gates, analysis.t_count, analysis.measurements, analysis.resets,
        analysis.bond_bits, analysis.crossings, analysis.outcome_bits,
        *analysis.operations.values(), *analysis.families.values(),
    )  # fmt: skip
    labels = (*analysis.operations, *analysis.families)
    flags = (analysis.clifford, analysis.mid_circuit, analysis.feed_forward, analysis.noisy)
    found = analysis.probe
    if found is not None:
        counts += (found.cap, found.bond_dimension, found.work)
        weight = found.discarded_weight
        if not (isinstance(weight, (int, float)) and 0 <= weight < 2**53):
            return False
    return (
        isinstance(analysis.repeats, (int, float))
        and 1 <= analysis.repeats <= _MOST_REPEATS
        and all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**53 for n in counts)
        and len(labels) <= 512
        and all(isinstance(label, str) and re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", label) for label in labels)
        and all(isinstance(flag, bool) for flag in flags)
    )
