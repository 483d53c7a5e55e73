"""A run's directory or a converted checkpoint, and pictures: what they show.

    predictor = tokenjax.load("runs/mine")
    predictor.predict(["a.jpg", "b.png"]).best

Neither a data set nor a configuration is needed: the card beside the weights tells what
they depend on (`tokenjax.card`).
"""

from tokenjax.evaluation.predictions import Predictions, Score
from tokenjax.prediction.loading import load
from tokenjax.prediction.predictor import Predictor

__all__ = ["Predictions", "Predictor", "Score", "load"]
