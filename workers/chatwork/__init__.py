"""Chatwork: its API, its request budget, its sandbox; the rooms and messages we keep, and the two jobs that fetch them."""
