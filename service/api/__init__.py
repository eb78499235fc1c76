"""The endpoints of the HTTP API, one subject a file.

app.py            the ASGI application: routes, request ids, headers, request log, errors
auth.py           sign in and out; the list of users
chatwork.py       queue Chatwork's syncs; its rooms, their messages, gaps and errors
companies.py      companies, the rooms linked to them, and summary drafts
docs_page.py      `/api/openapi.json`, and Swagger UI at `/api/docs`
documents.py      the JSON of jobs and events, and who may see a job
health.py         `/healthz`, `/readyz` and `/metrics`
job_streams.py    server-sent events: one job's events, and every change of each job
job_waiting.py    `GET /api/jobs/{id}/waiting`: why a queued job does not run yet
jobs.py           list jobs, read one, its history and past states, cancel and retry it
jobs_again.py     `POST /api/jobs/{id}/again`: a new job with the payload of an old one
jobs_bulk.py      `POST /api/jobs/bulk`: cancel or retry many jobs
log.py            `GET /api/events`: the whole log in order, for admins
operations.py     workers, job types, and the pause of a job type
queue_request.py  the one way to queue: role, Idempotency-Key, Prefer: wait
verification.py   start a verification of the log, and read the last result
"""
