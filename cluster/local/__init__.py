"""Clusters whose machines are process groups of this one."""
