"""``flask ft doctor``: what an administrator can get wrong, and what to do about each (spec 8, "Doctor").

Two steps: *ask*, everything side by side under one time limit (``run.py``), and *judge*. Each check is a small function
that returns findings. Nothing is changed anywhere: commands at a Redis are tried in a transaction that is discarded.
"""

from .finding import Finding, Status, Subject
from .run import Examination, examine

__all__ = ["Examination", "Finding", "Status", "Subject", "examine"]
