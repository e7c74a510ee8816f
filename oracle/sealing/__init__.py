"""Sealing: results (and private circuits) encrypted to the people who may read them."""
