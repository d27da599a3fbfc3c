"""Fakes that behave like the parts they stand for."""
