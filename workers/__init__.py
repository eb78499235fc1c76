"""Doing the work: from a hint that a job waits to its end in the log.

attempt/      one attempt of a job in a worker's hands
chatwork/     the Chatwork integration
delivery/     how a job that waits reaches a worker
http_body.py  the body of another server's answer, read with a limit on its size, as it was sent and decompressed
job_type.py   what a job type is, and what its handler is handed
liveness/     heartbeats, and the rescue of jobs whose worker is gone
outcomes.py   how a handler may end other than by returning a result
outgoing.py   the HTTP clients for services outside, Chatwork and the model
pauses.py     pauses
registry.py   every job type, one line each
resources.py  what the job types share in one process
summaries/    companies and their drafts
worker.py     the worker, assembled
"""
