"""What the drivers are made of: validation, folds, members, scores, caching."""
