// Bernstein-Vazirani with the secret 101101: one query to the oracle, and every shot reads 101101.
OPENQASM 2.0;
include "qelib1.inc";
gate secret a, b, c, d, e, f, target {
  cx a, target;
  cx c, target;
  cx d, target;
  cx f, target;
}
qreg q[6];
qreg target[1];
creg c[6];
x target[0];
h target[0];
h q;
secret q[0], q[1], q[2], q[3], q[4], q[5], target[0];
h q;
measure q -> c;
