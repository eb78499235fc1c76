"""Deliberate breaks of the real code, each of which some test must catch: `python -m tests.mutants`.

`breaks.py` is the list. A break names the tests that must fail with it; one that lets them pass has shown a hole in the tests.
"""
