"""Prints the OpenAPI document, from which the page's types are generated.

Needs no running service.
"""

import sys

import orjson

from service.api.app import ENDPOINTS
from service.http.openapi import openapi_document

sys.stdout.buffer.write(orjson.dumps(openapi_document(ENDPOINTS)))
