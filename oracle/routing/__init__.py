"""Where a job may run, and why: ``route.py``."""
