"""Sampling: prompts to completions, with noise that belongs to each token."""
