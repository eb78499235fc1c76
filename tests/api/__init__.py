"""Tests of the HTTP API, over real HTTP on loopback.

conftest.py                 a client of the Redis that only one test uses
test_access_records.py      what is on the record of access
test_accounts.py            admins add, change, disable people and sign them out
test_allowed_hosts.py       the names that the API answers to
test_auditor.py             what an auditor may read, and that an auditor changes nothing
test_auth.py                sign in, sign out, accepted tokens
test_bad_input.py           bad input gets a problem that names the field
test_batch_loader.py        the batch loader: one query for many single look-ups
test_broken_exports.py      exports of the log that cannot go on
test_broken_history.py      a broken history is shown up to its break
test_causes.py              request id and cause of each event
test_changes_stream.py      the stream of all changes
test_chatwork.py            the Chatwork endpoints
test_companies.py           companies, linked rooms, summary drafts
test_cors.py                pages of other origins
test_guess_delay.py         the delays between the tries to guess one password
test_http_protocol.py       malformed, too large and too slow requests
test_http_refusals.py       requests that HTTP forbids
test_job_limits.py          the limits of active and of paid jobs
test_job_lists.py           lists of jobs, counts, downloads
test_job_stream.py          the event stream of one job
test_job_type_roles.py      the role that a job type asks for
test_job_types.py           the list of job types
test_job_waiting.py         why a queued job waits
test_jobs.py                read, cancel and retry jobs, and their past states
test_jobs_bulk.py           change many jobs, and run an old one again
test_known_devices.py       known devices sign in while strangers guess; the log of sign-ins
test_large_bodies.py        large bodies and queries are refused cheaply
test_long_streams.py        streams with much to send, in short pieces
test_normalised_sign_in.py  emails and passwords in every Unicode form
test_open_limits.py         the limits of streams and of held answers
test_oidc.py                sign in through an identity provider
test_oidc_hostile.py        providers, ID tokens and browsers that do not keep the rules
test_openapi.py             the OpenAPI document and the page to browse it
test_operations.py          pauses, workers, force-fail, metrics
test_own_password.py        people change and set their own passwords
test_page.py                the files of the page over HTTP
test_past_jobs.py           all jobs as they stood at a past moment
test_passwords.py           the rules for new passwords, and their hashes
test_proofs.py              checkpoint, tiles, entries and proofs of the log
test_request_limit.py       the limit of requests
test_seal_lag.py            a sealer that is late: metrics, readiness, and the log
test_security_headers.py    the security headers of every response
test_sign_in_queue.py       the queue of sign-ins before the hashers
test_slow_readers.py        clients that do not read their response
test_smuggled_fields.py     fields and headers that only the service decides
test_sse_clients.py         both streams read by other clients
test_trusted_proxies.py     the client's address behind proxies
test_verification.py        verification in the background
test_verify_job.py          one job verified at once
test_who_may.py             each route answers each role as the table says
limited.py                  a second API on the same database, with limits
oidc.py                     an API with an identity provider, and the way of a browser
things.py                   the job, company and rooms that requests of `who_may.py` name
who_may.py                  the table of who may do what
"""
