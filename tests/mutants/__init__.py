"""Breaks the code in one place at a time, and checks that a test fails each time.

The command is `python -m tests.mutants`.

__main__.py       the command: breaks a copy of the code and runs the tests
breaks/           the list of breaks; each names the tests that must fail with it
only_the_copy.py  a pytest plugin that checks that the tests run on the copy
test_caught.py    tests that only the breaks need, and a test that the list still fits the code
"""
