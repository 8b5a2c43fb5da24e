"""What happened: recording a run and reading it back."""
