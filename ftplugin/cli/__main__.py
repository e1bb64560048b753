"""``python -m ftplugin.cli``."""

from . import main

main()
