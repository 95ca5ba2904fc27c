"""The search for the best setting of a system, on the validation part alone."""
