"""OpenAI-ES, and the commands head, worker and experiment."""
