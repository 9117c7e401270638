"""Recipes, the training loop and its events; imports nothing that draws."""

from amkd_viz.training.evaluation import accuracy, logits_on, scores
from amkd_viz.training.events import Changed, EpochEnded, Event, Finished, Started, Stepped, Waiting
from amkd_viz.training.examples import DIGITS, SPIRALS, suggested
from amkd_viz.training.loop import events
from amkd_viz.training.recipe import Recipe
from amkd_viz.training.training import Training

__all__ = [
    "DIGITS",
    "SPIRALS",
    "Changed",
    "EpochEnded",
    "Event",
    "Finished",
    "Recipe",
    "Started",
    "Stepped",
    "Training",
    "Waiting",
    "accuracy",
    "events",
    "logits_on",
    "scores",
    "suggested",
]
