"""Tests of the page and of Swagger UI in a real Chromium, against the real service.

chromium.py           finds or installs a Chromium
conftest.py           the fixtures: one browser for the run, sites, and visits to them
job_histories.py      writes histories of jobs for sites without a worker
screenshots.py        takes the screenshots of the README again
screens.py            finds parts of the screens by role and name
site.py               a whole service for a test to visit
watch.py              collects the faults of all pages of a test
test_accounts.py      an invitation, and what an auditor sees
test_api_docs.py      Swagger UI, and the licences of the bundled packages
test_audit.py         the audit screen
test_companies.py     companies, linked rooms, summary drafts
test_company_changes.py  rename and archive; drafts as a list, and their sources
test_dialogs.py       the focus of dialogs, Enter, and their address
test_event_source.py  both streams in the browser's `EventSource`
test_for_everybody.py keyboard, screen reader, phone, languages, dark theme
test_further_type.py  a job type that the page does not know
test_job.py           the screen of one job
test_jobs.py          the list of jobs
test_limits.py        the limits of one person, in ordinary use and beyond
test_live.py          live changes while streams break or the API is down
test_much.py          many rows and many events
test_sign_in.py       signing in and out, and the screens of each role
test_syncs.py         the two Chatwork syncs
test_verify_job.py    request, cause, verification and proof on the screen of a job
test_troubles.py      errors and empty states
"""
