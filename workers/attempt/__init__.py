"""One attempt of a job in a worker's hands.

attempt.py       one attempt of a job, from start to end
context.py       the `Context` that a running handler gets
failures.py      an exception as the log keeps it
outcome_json.py  what an attempt leaves behind as JSON
progress.py      progress of a running attempt on its way into the log
runner.py        runs attempts in one worker process
slots.py         the slots of one worker
"""
