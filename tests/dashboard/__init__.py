"""The dashboard in a real browser, against the real service: what a user would notice.

`visitor` is a person at a browser of their own; `world` is what they find there. Each
test is named after what it proves, and its docstring begins with the number that the
list of acceptance has for it: `P1.8`.
"""
