"""What a report is made of: see `tracking.report`."""
