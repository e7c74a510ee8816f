"""The validator process: hears of deliveries, judges them with ``oracle.validation``, signs and sends its verdicts.

It is built from the parts of a node (journal, ingestion, sender, watch), so that it survives what a node survives.
"""
