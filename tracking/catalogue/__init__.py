"""Runs side by side: what each is about, chosen, tagged, removed, carried away."""
