"""IBM Quantum through ``qiskit-ibm-runtime``, in two processes besides the node.

The *compiler* (:mod:`~oracle.backends.ibm.compile`) reads the stranger's circuit in a confined child and fits it to a
device; it holds no secrets and no sockets. The *link* (:mod:`~oracle.backends.ibm.link`) holds the token and talks to
IBM; it sees gates from a fixed list with finite numbers (:mod:`~oracle.backends.ibm.isa`), never a circuit's text. The
node holds neither token nor circuit.
"""
