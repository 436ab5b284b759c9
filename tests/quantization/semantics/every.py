"""What a model has for training alone, one small network each; a builder's docstring says what must hold."""

from . import (
    derived,
    fixed,
    front,
    frozen,
    gradients,
    penalties,
    randomness,
    recurrent,
    states,
    structure,
    ties,
    trained_alone,
    two_modes,
)
from .listing import SEMANTICS

__all__ = [
    "SEMANTICS",
    "derived",
    "fixed",
    "front",
    "frozen",
    "gradients",
    "penalties",
    "randomness",
    "recurrent",
    "states",
    "structure",
    "ties",
    "trained_alone",
    "two_modes",
]
