"""Recipes: well-known fusions under their own names, each a sentence made of components."""
