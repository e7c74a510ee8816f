"""Circuits from strangers: limits, a lint before any parser, and a sandbox around parser and simulator."""
