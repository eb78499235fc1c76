"""Live changes: the streams of one job and of all jobs, and verifications of the log.

batch_loader.py        merges single look-ups that come at the same time into one query
changes_feed.py        the stream of all jobs: sends each change to those who may see it
job_watches.py         wakes the requests that watch one job
listening.py           receives changes from the bus, and runs a loop that finds lost ones
server_sent_events.py  encodes server-sent events so that all clients read them alike
verifier.py            runs one verification of the log at a time and stores its result
"""
