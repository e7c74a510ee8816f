// Hardware-efficient ansatz on four qubits, three layers at fixed angles: what one step of a variational run executes.
// Expect 0010 in about 28 % of the shots, then 0011 in about 12 %.
OPENQASM 3.0;
include "stdgates.inc";
qubit[4] q;
bit[4] c;
ry(0.41) q[0]; ry(1.32) q[1]; ry(-0.77) q[2]; ry(2.05) q[3];
cx q[0], q[1]; cx q[1], q[2]; cx q[2], q[3];
ry(0.93) q[0]; ry(-1.18) q[1]; ry(0.26) q[2]; ry(0.64) q[3];
rz(0.5) q[0]; rz(-0.3) q[1]; rz(1.1) q[2]; rz(0.2) q[3];
cx q[0], q[1]; cx q[1], q[2]; cx q[2], q[3];
ry(-0.35) q[0]; ry(0.72) q[1]; ry(1.49) q[2]; ry(-0.88) q[3];
c = measure q;
