"""Ray actors that evaluate, the pool that feeds them, and the cluster they are on."""
