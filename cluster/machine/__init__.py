"""What runs on each machine of a cluster: the head's service, the workers' service."""
