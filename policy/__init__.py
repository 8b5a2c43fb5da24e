"""From theta and an observation to an action."""
