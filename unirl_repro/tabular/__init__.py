"""Exact finite MDPs and the tabular algorithms of "Mismatched no More"."""
