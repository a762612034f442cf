"""Floor 10: the training loop, its compiled losses and metrics."""
