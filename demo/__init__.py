"""A two-node cluster on loopback addresses, its services and its oracle. Nothing here is part of the product."""
