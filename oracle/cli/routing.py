"""How a routing decision reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oracle.cli.output import facts, say

if TYPE_CHECKING:
    from oracle.routing.route import Decision


def show_decision(decision: Decision) -> None:
    """The choice, the circuit in figures, and every candidate with its reason."""
    chosen = next((verdict for verdict in decision.verdicts if verdict.code == "taken"), None)
    say(f"{decision.choice}: {chosen.name}" if chosen else f"{decision.choice}: nothing here may take it")
    if decision.circuit:
        facts(_figures(decision.circuit))
    say("Candidates:")
    for verdict in decision.verdicts:
        mark = "+" if verdict.code == "taken" else "o" if verdict.eligible else "-"
        say(f"  {mark} {verdict.name}  [{verdict.code}]")
        say(f"      {verdict.text}")


def _figures(circuit: dict[str, Any]) -> dict[str, Any]:
    families = ", ".join(f"{number} {family}" for family, number in circuit["families"].items()) or "none"
    special = [
        text
        for there, text in (
            (circuit["clifford"], "Clifford"),
            (circuit["mid_circuit"], "measures on the way"),
            (circuit["feed_forward"], "gates depend on outcomes"),
            (circuit["resets"], f"{circuit['resets']} resets"),
            (circuit["noisy"], "noise after every gate"),
        )
        if there
    ]
    rows = {
        "qubits": f"{circuit['qubits']}, {circuit['active_qubits']} of them used",
        "depth": circuit["depth"],
        "gates": f"{circuit['gates']} ({families}), {circuit['two_qubit_gates']} on two qubits",
        "T count": circuit["t_count"],
        "bond dimension": f"at most 2^{circuit['bond_bits']} by its gates",
    }
    if probe := circuit["probe"]:
        rows["probe"] = f"bond {probe['bond_dimension']} of {probe['cap']}, thrown away {probe['discarded_weight']:.3g}"
    return rows | ({"special": ", ".join(special)} if special else {})
