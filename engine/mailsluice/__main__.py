"""`python -m mailsluice` is the command."""

from mailsluice.cli import main

main()
