"""Valid and invalid requests generated from the OpenAPI document: the responses follow it."""

import pytest
from web_server import PATIENCE

pytest_plugins = ["hostile_servers"]


@pytest.fixture(scope="module")
def operations(served):
    import schemathesis

    schema = schemathesis.openapi.from_url(f"{served.url}/api/v1/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_responses_follow_the_openapi_document(served, operations, mode):
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.specs.openapi import checks

    promised = [
        schemathesis.checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
        checks.response_schema_conformance, checks.response_headers_conformance,
    ]  # fmt: skip
    counts, failed = dict.fromkeys((operation.label for operation in operations), 0), []
    served.faults()

    def ask(case):
        counts[case.operation.label] += 1
        response = case.call(timeout=PATIENCE)
        try:
            case.validate_response(response, checks=promised)
        except BaseExceptionGroup as error:
            reasons = "; ".join(str(each).partition("\n")[0] for each in error.exceptions)
            pytest.fail(f"{reasons}\n  {case.as_curl_command()[:400]}\n  {response.status_code} {response.text[:200]}")

    wanted = settings(
        max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,)
    )  # fmt: skip
    for operation in operations:
        try:
            strategy = operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode))
            seed(20_260_101)(wanted(given(case=strategy)(ask)))()
        except Unsatisfiable:
            pass
        except pytest.fail.Exception as error:
            failed.append(f"{operation.label}: {error}")
    print(f"\n{sum(counts.values())} {mode} requests from the OpenAPI document: {counts}")
    assert not failed, "\n\n".join(failed)
    assert not served.faults()
    assert sum(counts.values()) >= 150  # operations without parameters have no invalid requests
