"""One file a revision; the rules are in the package above."""
