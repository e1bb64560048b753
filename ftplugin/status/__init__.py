"""What page and command line show: both servers in the guide's words, why they are what they are, and how old this is.

Everything comes from the node's own Redis and database, never from the network. Old is never shown as new: when the agent
has not ticked for 2 T, or Redis does not answer, the document says so in ``problem`` and the peer is shown as not known.
"""

from .document import DOCUMENTS, look, status_of
from .orders import new_order, order_problem
from .servers import ACTIVE, ERROR, STANDBY

__all__ = [
    "ACTIVE",
    "DOCUMENTS",
    "ERROR",
    "STANDBY",
    "look",
    "new_order",
    "order_problem",
    "status_of",
]
