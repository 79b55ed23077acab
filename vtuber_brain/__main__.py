"""`python -m vtuber_brain`: the command line."""

from vtuber_brain.cli import main

main()
