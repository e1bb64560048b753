"""The pure core: see README.md beside this file for what may not enter."""
