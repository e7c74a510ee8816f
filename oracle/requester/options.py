"""What a draft may leave out, as text to put below an example."""

from __future__ import annotations

# Without the leading # it is YAML of oracle.jobs.spec.DEFAULTS, section by section.
OPTIONS = """\
# What follows is optional, and shows the values that hold when it is left out. Sections named above already
# (quantum, budget) take their further fields there; take the # away from the others to change them.
#
#inputs:
#  dataset: null                 # ipfs:// link of data the circuit was made from
#  preprocessing_version: null
#
#quantum:
#  framework: qiskit
#  format: openqasm3             # or openqasm2, qscrow-json
#  shots: 1024
#  seed: null                    # a number makes simulator runs repeatable, bit for bit
#  noise: null                   # on a simulator, e.g. {one_qubit: 0.001, two_qubit: 0.01, readout: 0.02}
#  backend_policy: simulator     # or ibm_or_simulator, ibm, any
#  constraints:
#    max_qubits: null
#    max_queue_minutes: null
#    allowed_backends: []
#
#budget:
#  token: native                 # amount is the most that can be charged; what is not comes back
#
#timeouts:
#  accept_seconds: 3600          # how long an oracle may take to accept; then the money can come back
#  deliver_seconds: 3600         # how long it may take from there to deliver; then its bond is yours as well
#  challenge_seconds: 0          # how long to judge or dispute the result; needs a validator or an arbiter
#
#validation:
#  method: none                  # or distribution, replay, canary, agreement
#  threshold: auto
#  baseline: null
#
#settlement:
#  release_on: delivery          # or attestation, challenge; both need challenge_seconds
#
#privacy:
#  circuit: public               # sealed hides it from everybody but the oracle
#  capsule: nacl                 # or hpke
#
#promotion:
#  require_simulation: true      # hardware only after a simulation
#  max_baseline_distance: auto
#  require_manual_approval: false
"""
