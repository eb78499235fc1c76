"""Deliberate breaks of the code, which the tests must catch: `python -m tests.mutants`.

__main__.py       the command: breaks a copy of the code and runs the tests
breaks/           the list of breaks; each names the tests that must fail with it
only_the_copy.py  a plugin of pytest that checks that the tests run on the copy
test_caught.py    tests that only the breaks need, and a test that the list still fits the code
"""
