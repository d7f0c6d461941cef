"""Sequence models: what saers asks of one, and how it opens one.

`load` imports torch when it is called, so that importing this package stays quick.
"""

from saers.models.base import SequenceModel
from saers.models.registry import adapters, load, register_adapter

__all__ = ["SequenceModel", "adapters", "load", "register_adapter"]
