"""Fine-tunes of one network: with different hyperparameters, in the tangent space, or one a task."""
