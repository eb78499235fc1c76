"""What happened: the rules of a job, and the log.

batch_writer.py       sends one batch of writes to PostgreSQL, and recognises its own events when it must send them a
bus.py                tells who is listening that a job changed
concurrency.py        tools for asyncio
database.py           the connections to PostgreSQL
database_check.py     whether a database can be used at all
database_clock.py     the database's clock as a process knows it, for stamping events
database_url.py       reading a database's address
faults.py             errors of the database that no waiting mends
findings.py           the names of what an audit may find
group_commit.py       group commit
history.py            reads the log
job.py                the rules of a job
redis_connections.py  connections to Redis that break with `RedisError`, whatever the event loop calls it, and that c
redis_faults.py       what is wrong with a Redis, in a sentence
scrub.py              takes secrets out of text before it is stored, logged or printed
seldom.py             A limit on how often one kind of log line is written, for what a stranger can cause a thousand
statements.py         all SQL that writes the log and the view, and the SQL that reads the log
store.py              the log
stored.py             an event as it is stored
writes.py             what is on its way into the log
"""
