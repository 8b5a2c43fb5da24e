"""What every experiment command shares: a run put together from its config, and run."""
