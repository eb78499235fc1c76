"""The endpoints, one subject a file.

app.py            the web application, assembled from its parts, and what every request passes through
auth.py           signing in and out, and who may
chatwork.py       chatwork for admins
companies.py      companies, the Chatwork rooms linked to them, and drafts that sum up what was said there
docs_page.py      `/api/openapi.json`, and Swagger UI to browse it at `/api/docs`
documents.py      jobs and events as the API shows them, and to whom
health.py         is it alive, can it serve, how is it doing
job_streams.py    `GET /api/jobs/stream`
job_waiting.py    `GET /api/jobs/{id}/waiting`
jobs.py           jobs
jobs_again.py     `POST /api/jobs/{id}/again`
jobs_bulk.py      `POST /api/jobs/bulk`
log.py            the whole log in order, for admins
operations.py     what an operator needs beside the jobs
queue_request.py  what every `POST` that queues a job has in common
verification.py   verifications for admins
"""
