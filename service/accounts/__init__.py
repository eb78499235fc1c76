"""Users, sign-in, tokens and the record of access.

access_records.py          the record of access: who read, exported, verified or changed what
build_common_passwords.py  makes the file of common passwords from two packages
common_passwords.py        knows whether a password is a common one
guess_delay.py             growing delays between the tries to guess one password
identities.py              the accounts of people whom an identity provider names
invitations.py             one-time links with which people set their own passwords
keyed_hash.py              hashes with keys that are derived from JWT_SECRET
known_devices.py           the cookies of devices that have signed in before
oidc_provider.py           asks the identity provider: configuration, keys, ID tokens
oidc_sign_in.py            one sign-in through the provider: state, nonce, PKCE
oidc_tokens.py             checks the provider's ID tokens
passwords.py               the rules for new passwords; hashes and verifies passwords
people.py                  lists and changes accounts; keeps the last admin
secret_file.py             secrets kept in files under RIREKI_HOME, such as the signing key
sign_in_limit.py           limits the tries to sign in of an address, an account and a device
sign_in_queue.py           the bounded queue of sign-ins that wait for a password hasher
users.py                   adds users, verifies passwords, issues and checks tokens
"""
