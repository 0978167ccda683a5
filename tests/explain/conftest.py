"""A server on loopback for every test of this room."""

from .serving import named, serve, unnamed  # noqa: F401
