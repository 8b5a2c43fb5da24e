"""The serial pool's evaluator in a process that may hang, leak or crash."""
