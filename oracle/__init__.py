"""Qscrow: quantum jobs in escrow. See README.md for the flow and docs/ for each part."""

__version__ = "0.1.0"
