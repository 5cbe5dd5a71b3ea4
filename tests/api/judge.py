"""Run stac-api-validator without a network: the schemas that it fetches are those that pystac brings.

``python -m tests.api.judge --root-url …``: the validator's own options, and its own exit code.
"""

import json
from typing import Any
from urllib.parse import urlsplit

import requests
import stac_api_validator.__main__ as validator
from pystac.validation.local_validator import get_local_schema_cache
from requests.adapters import HTTPAdapter

SCHEMAS = get_local_schema_cache()
send = HTTPAdapter.send


def answered(self: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    """Answer for a schema; this machine's servers are asked, and nobody else."""
    address = str(request.url).partition("#")[0]
    if address in SCHEMAS:
        response = requests.Response()
        response.status_code = 200
        response.headers["content-type"] = "application/json"
        response._content = json.dumps(SCHEMAS[address]).encode()
        response.request, response.url = request, address
        return response
    if urlsplit(address).hostname != "127.0.0.1":
        raise requests.ConnectionError(f"{address} is not asked in a test")
    return send(self, request, **options)


if __name__ == "__main__":
    HTTPAdapter.send = answered  # type: ignore[method-assign]
    validator.main()
