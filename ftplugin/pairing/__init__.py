"""How two servers get to trust each other: keys in files, the one-time code, rotation, the peer's login at Redis."""
