"""The requester's side as a library: drafts, simulation, submission, opening results. Prints nothing."""
