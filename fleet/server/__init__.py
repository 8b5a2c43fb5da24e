"""A Redis server of our own: started, found again, ended."""
