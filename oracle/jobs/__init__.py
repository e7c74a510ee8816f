"""The vocabulary every other package shares: errors, states, terms, specs and amounts.

Nothing in here does I/O beyond reading the schemas it ships, and nothing in here
imports another Qscrow package.
"""
