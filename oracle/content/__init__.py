"""Content addressing: real IPFS CIDs, verified on every read, with or without an IPFS daemon."""
