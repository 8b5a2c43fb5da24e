"""Who evaluates a rollout, and what if they die."""
