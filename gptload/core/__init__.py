"""Decisions: no reactor, clock, socket, file or database in here.

Everything in this room can be run with nothing but arguments.
"""
