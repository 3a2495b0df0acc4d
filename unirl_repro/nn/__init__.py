"""Layers shared by all algorithms; every initial weight is drawn from a keyed generator."""
