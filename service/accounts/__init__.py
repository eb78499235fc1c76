"""People, their passwords and the secrets kept in files.

secret_file.py    small secrets kept in files under RIREKI_HOME
sign_in_limit.py  limits the tries to sign in, over all processes
sign_in_queue.py  the line before the two that verify passwords
users.py          people who may sign in, and their tokens
"""
