"""Users, sign-in and tokens.

build_common_passwords.py  makes the file of common passwords from two packages
common_passwords.py        knows whether a password is a common one
keyed_hash.py              hashes with keys that are derived from JWT_SECRET
passwords.py               the rules for new passwords; hashes and verifies passwords
secret_file.py             secrets kept in files under RIREKI_HOME, such as the signing key
sign_in_limit.py           limits how often an address may try to sign in, over all processes
sign_in_queue.py           the bounded queue of sign-ins that wait for a password hasher
users.py                   adds users, verifies passwords, issues and checks tokens
"""
