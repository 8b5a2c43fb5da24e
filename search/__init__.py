"""Which vectors to try next: the loop, its protocol, its messages and its journal."""
