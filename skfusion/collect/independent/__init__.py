"""Independent runs: deep ensembles, bagging, ensembles over hyperparameters."""
