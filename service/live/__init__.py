"""Live changes: the streams of one job and of all jobs; the verification of the log.

batch_loader.py        merges single look-ups that come at the same time into one query
changes_feed.py        the stream of all jobs: sends each change to those who may see it
job_watches.py         the stream of one job, and requests that wait for a job's end
listening.py           receives changes from the bus, beside a loop over the database
server_sent_events.py  encodes server-sent events so that all clients read them alike
verifier.py            runs one verification of the log at a time and stores its result
"""
