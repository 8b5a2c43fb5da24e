"""What happened: recording a run while it goes, showing it, and reading it back."""
