"""What every request passes through.

authentication.py  who a request comes from
context.py         what one API process is made of
endpoint.py        an endpoint is declared once
logs.py            log lines, to standard error
metrics.py         what the API measures of itself, for Prometheus
openapi.py         the OpenAPI 3.1 document, made from the endpoints' declarations and the models that validate; and
problems.py        the one table from an error to what the client is told
protocol.py        the server's HTTP below the application
query_fields.py    kinds of values that several requests take
request.py         reading what a client sends
"""
