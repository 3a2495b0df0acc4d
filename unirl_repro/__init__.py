"""Reproduction of three model-based-RL papers and a blog post, from training to the report."""
