"""What is watched while it changes.

batch_loader.py        questions to the database that come one by one and are asked together
changes_feed.py        every change of every job, to all who may see it
job_watches.py         watching jobs as they change
listening.py           hears the bus, and looks at the database beside it
server_sent_events.py  the bytes of server-sent events (HTML, 9.2), in the form that clients of every language read alike
verifier.py            runs one verification of the log at a time, and keeps its result
"""
