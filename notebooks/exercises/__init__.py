"""What the notebooks ask: ``predict("00.map", view)`` before a result, ``check("02.b", answer)`` after it.

Notebooks import this folder from beside them.
"""

from exercises.build import hinge_losses, walk, with_kd
from exercises.checking import Verdict, check, exercises, hint
from exercises.circle import TripletCircle, triplet_circle
from exercises.classroom import guesses, share
from exercises.comparing import few_labels
from exercises.knowledge import attention_maps, rank_lists, relation_maps, weights_over_margin
from exercises.live import say
from exercises.pictures import example_folder
from exercises.predictions import predict, questions
from exercises.seeds import Seeds
from exercises.watch import Watch

__all__ = [
    "Seeds",
    "TripletCircle",
    "Verdict",
    "Watch",
    "attention_maps",
    "check",
    "example_folder",
    "exercises",
    "few_labels",
    "guesses",
    "hinge_losses",
    "hint",
    "predict",
    "questions",
    "rank_lists",
    "relation_maps",
    "say",
    "share",
    "triplet_circle",
    "walk",
    "weights_over_margin",
    "with_kd",
]
