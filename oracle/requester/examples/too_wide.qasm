// Forty entangled qubits with T gates: more than a node's limit, so the oracle rejects the job and the money comes back.
OPENQASM 2.0;
include "qelib1.inc";
qreg q[40];
creg c[40];
h q;
t q;
cx q[0], q[39];
h q;
measure q -> c;
