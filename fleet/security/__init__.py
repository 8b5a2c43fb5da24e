"""Who gets in, and how: users, passwords, certificates."""
