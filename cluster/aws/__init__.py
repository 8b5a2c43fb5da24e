"""Clusters on AWS: an account's settings, launch, inventory, end."""
