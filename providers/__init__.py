"""The channels that ship with gptload, one API a module.

Imported as `gptload_providers`. Nothing in gptload names them: they are found through
the entry points, like anybody else's (docs/providers.md).
"""
