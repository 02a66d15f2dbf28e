"""Recipes: a post-training stage as one YAML file, with TRL's own argument names."""
