"""Runs in MongoDB: where it is, what is kept there, and how that is brought up to date."""
