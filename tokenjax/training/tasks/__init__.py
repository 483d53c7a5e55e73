"""What is learned: a task joins a model with a loss, an evaluation and figures."""
