"""The head's side: which rollout is where, and what is believed of it."""
