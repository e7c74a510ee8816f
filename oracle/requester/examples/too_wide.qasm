// Forty qubits, entangled far and wide, with T gates: more than a simulator holds, so the oracle rejects the job and the
// money comes back.
OPENQASM 2.0;
include "qelib1.inc";
qreg a[20];
qreg b[20];
creg c[20];
creg d[20];
h a;
t a;
cx a, b;
ry(0.7) a;
rx(0.9) b;
cx b[0], a[3]; cx b[1], a[10]; cx b[2], a[17]; cx b[3], a[4]; cx b[4], a[11];
cx b[5], a[18]; cx b[6], a[5]; cx b[7], a[12]; cx b[8], a[19]; cx b[9], a[6];
cx b[10], a[13]; cx b[11], a[0]; cx b[12], a[7]; cx b[13], a[14]; cx b[14], a[1];
cx b[15], a[8]; cx b[16], a[15]; cx b[17], a[2]; cx b[18], a[9]; cx b[19], a[16];
t b;
ry(0.4) a;
cx a[0], b[11]; cx a[1], b[14]; cx a[2], b[17]; cx a[3], b[0]; cx a[4], b[3];
cx a[5], b[6]; cx a[6], b[9]; cx a[7], b[12]; cx a[8], b[15]; cx a[9], b[18];
cx a[10], b[1]; cx a[11], b[4]; cx a[12], b[7]; cx a[13], b[10]; cx a[14], b[13];
cx a[15], b[16]; cx a[16], b[19]; cx a[17], b[2]; cx a[18], b[5]; cx a[19], b[8];
h a;
measure a -> c;
measure b -> d;
