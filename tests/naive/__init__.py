"""Slow twins of fast numerics, obviously right, that the fast ones are compared with."""
