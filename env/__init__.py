"""Simulators, rollouts and rendering: how good is a vector."""
