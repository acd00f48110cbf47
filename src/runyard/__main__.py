"""`python -m runyard` is `runyard`."""

from runyard.cli import main

main()
