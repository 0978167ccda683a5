"""A server on loopback for every test of this room."""

from .serving import serve  # noqa: F401
