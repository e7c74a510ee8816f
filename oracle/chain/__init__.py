"""The chain: connecting, reading contracts and events, signing and sending, local chains.

``abi/`` holds the compiled contracts; one wrapper class per contract in ``contracts.py``.
"""
