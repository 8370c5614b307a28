"""Requests that a machine makes up from the OpenAPI description: each is answered as the description says."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

from tests.keras_impl.web.web_pictures import NOISE, encoded

# Schemathesis also has a check that everything of a media type is accepted; not all bytes are pictures.
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    use_after_free,
]


OPERATIONS = [("/api/predict", "POST"), ("/api/health", "GET")]
OWN_HOST = {"Host": "localhost"}


@pytest.fixture(scope="session")
def web_schema(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app, headers=OWN_HOST)


def test_every_operation_is_tried(web_schema):
    operations = [result.ok() for result in web_schema.get_all_operations()]
    assert sorted((operation.path, operation.method.upper()) for operation in operations) == sorted(OPERATIONS)


@pytest.mark.parametrize(
    ("path", "method", "mode"),
    [
        ("/api/predict", "POST", GenerationMode.POSITIVE),
        ("/api/predict", "POST", GenerationMode.NEGATIVE),
        ("/api/health", "GET", GenerationMode.POSITIVE),  # which takes nothing that could be wrong
    ],
)
def test_made_up_requests_are_answered_as_described(web_schema, path, method, mode):
    statuses = set()

    @given(case=web_schema[path][method].as_strategy(generation_mode=mode))
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def check(case):
        response = case.call(headers=OWN_HOST)
        statuses.add(response.status_code)
        case.validate_response(response, checks=CHECKS)

    check()
    assert statuses


def test_a_real_picture_is_answered_as_described(web_schema):
    data = encoded(NOISE)
    operation = web_schema["/api/predict"]["POST"]
    for case in (
        operation.Case(body=data, media_type="image/png"),
        operation.Case(body={"file": data}, media_type="multipart/form-data"),
    ):
        response = case.call(headers=OWN_HOST)
        assert response.status_code == 200
        assert len(response.json()["faces"]) == 2
        case.validate_response(response, checks=CHECKS)
