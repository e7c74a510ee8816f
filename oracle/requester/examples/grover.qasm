// Grover search over three qubits for 101, two iterations: 101 in about 94.5 % of the shots.
OPENQASM 3.0;
include "stdgates.inc";
gate phase_flip a, b, c { h c; ccx a, b, c; h c; }
gate mark a, b, c { x b; phase_flip a, b, c; x b; }
gate diffuse a, b, c { h a; h b; h c; x a; x b; x c; phase_flip a, b, c; x a; x b; x c; h a; h b; h c; }
qubit[3] q;
bit[3] c;
h q;
mark q[0], q[1], q[2];
diffuse q[0], q[1], q[2];
mark q[0], q[1], q[2];
diffuse q[0], q[1], q[2];
c = measure q;
