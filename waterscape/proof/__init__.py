"""Proofs that the promises hold here, on this machine, for this model: real processes, really killed."""
