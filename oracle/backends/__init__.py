"""Adapters to whatever runs circuits, behind the one interface in ``base.py``."""
