"""What happened: the rules of a job, and the log that every change of a job is appended to."""
