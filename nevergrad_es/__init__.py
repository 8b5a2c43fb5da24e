"""Nevergrad's optimisers as searches of ours."""
