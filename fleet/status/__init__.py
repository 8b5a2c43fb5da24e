"""What is on a Redis, for people: read, understood, drawn."""
