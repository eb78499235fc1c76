"""The endpoints of the HTTP API. Each file has the endpoints of one subject.

access.py         the record of access, and which reads are recorded
app.py            the ASGI application: routes, request ids, headers, request log, errors
auth.py           sign in and out
chatwork.py       queue Chatwork's syncs; its rooms, their messages, gaps and errors
checkpoints.py    `GET /api/audit/log`: the newest signed checkpoint, and the state of signing
companies.py      companies, the rooms linked to them, and summary drafts
descriptions.py   the JSON of jobs with their descriptions, and the names in these
docs_page.py      `/api/openapi.json`, and Swagger UI at `/api/docs`
documents.py      the JSON of jobs and events, and who may see a job
health.py         `/healthz`, `/readyz` and `/metrics`
job_streams.py    the endpoints of both streams: one job's events, and the changes of all jobs
job_waiting.py    `GET /api/jobs/{id}/waiting`: why a queued job does not run yet
jobs.py           list jobs; read, cancel and retry one; its history and past states
jobs_again.py     `POST /api/jobs/{id}/again`: a new job with the payload of an old one
jobs_bulk.py      `POST /api/jobs/bulk`: cancel or retry many jobs
log.py            `GET /api/events`: the whole log in order, for admins and auditors
oidc.py           sign in through an identity provider
operations.py     workers, job types, and the pause of a job type
own_account.py    change the own password, accept an invitation
past_jobs.py      `GET /api/audit/state`: all jobs as they stood at a past moment
proofs.py         what proves the log to a stranger: checkpoint, tiles, entries, proofs
queue_request.py  queues or retries a job for a request: role, Idempotency-Key, Prefer: wait
sign_in.py        what every way to sign in shares: limits, cookies, the log
users.py          accounts, for admins: list, add, change, sign out, invite
verification.py   start a verification of the log, and read the last result
verify_job.py     verify one job at once
"""
