"""Runs jobs: from the hint that a job is due to the job's end in the log.

registry.py            every job type, one line each: start reading here
job_type.py            `JobType`, `Context` and `Backoff` (the wait before a retry)
description.py         the parts of a job's description: text, a company, a room, a period
outcomes.py            the exceptions that end a handler without a result
resources.py           the clients that all handlers of a process share
worker.py              one worker process, built from `delivery`, `attempt` and `liveness`
pauses.py              pauses: job types of which no job may start for a while
hosts.py               hosts, IP addresses and networks as settings list them
outgoing_http.py       HTTP clients for Chatwork and the model: proxy and certificates
outgoing_rules.py      the servers that may be called, by OUTGOING_ALLOW
outgoing_transport.py  the connections of those clients, to checked addresses only
http_body.py           reads an HTTP body with a size limit, also while decompressing it
delivery/              brings a due job to a worker, through Redis or inside the process
attempt/               runs one attempt of a job and records how it ended
liveness/              heartbeats, and the rescue of jobs whose worker is gone
chatwork/              the Chatwork client, its tables and its two job types
summaries/             companies, their drafts, and the job type that writes a draft
"""
