"""Where a run's machines come from: AWS, or this machine in the part of several."""
