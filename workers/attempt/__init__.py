"""Runs one attempt of a job and records how it ended.

runner.py        starts attempts in the log, gives them slots, and stops them
attempt.py       one attempt: calls the handler, stops it, appends its end
slots.py         the slots of a worker: taken, freed, stuck
context.py       the `Context` of a handler; only its job's current attempt can commit
progress.py      throttles the progress reports of an attempt
outcome_json.py  turns a handler's result into JSON, or refuses it
failures.py      turns an exception into the error that the log keeps, without secrets
"""
