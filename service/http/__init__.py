"""The parts of HTTP that all endpoints share: declarations, requests, errors, documents.

authentication.py  finds the user of a request, by bearer token or cookie
context.py         what the endpoints of one API process share
cookies.py         cookies: their names and attributes
cors.py            lets pages of listed origins read the API
endpoint.py        the declaration of an endpoint, and the routes made from it
headers.py         the security headers of all responses
logs.py            structured log lines on standard error
metrics.py         the Prometheus metrics of the API
openapi.py         the OpenAPI 3.1 document, made from the declarations
problems.py        the table from an exception to a problem document (RFC 9457)
protocol.py        refuses malformed, too large and too slow requests before the application
query_fields.py    field types that several requests share: times, ids, job types
request.py         reads and checks query, body and headers of a request
slow_readers.py    ends the connection of a client that does not read its response
"""
