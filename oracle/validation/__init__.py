"""Judging results: what counts can show about the work behind them, and how sure that is. No chain, no network."""
