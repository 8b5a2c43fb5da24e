"""Between the Redis above and a machine's own: work down, records up."""
