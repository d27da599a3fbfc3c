"""What a person asks for: one Klein a subject. Import it inside `make_node` only.

Importing klein imports the global reactor, which must not exist before the
plugin has had its chance to install one.
"""
