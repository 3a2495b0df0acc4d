"""Learned models of the dynamics."""
