"""The box refuses what IBM refuses."""

from __future__ import annotations

import time

import jwt
import pytest
import requests

from oracle.backends.ibm.box import Box
from oracle.jobs.errors import InputError


@pytest.fixture
def headers(box):
    answer = requests.post(f"{box.url}/identity/token", data={"apikey": box.token}, timeout=10)
    return {"Authorization": f"Bearer {answer.json()['access_token']}", "Service-CRN": box.instance}


def get(box, path, headers):
    return requests.get(f"{box.url}/api/v1{path}", headers=headers, timeout=10)


def test_identity__wrong_key__is_refused_the_way_iam_does(box):
    assert requests.post(f"{box.url}/identity/token", data={"apikey": "wrong"}, timeout=10).status_code == 400


def test_requests__without_a_valid_access_token__are_unauthorised(box, headers):
    forged = jwt.encode({"exp": int(time.time()) + 60}, "some other key, as long as the algorithm wants")
    for authorization in ("", f"apikey {box.token}", f"Bearer {box.token}", f"Bearer {forged}"):
        assert get(box, "/backends", {**headers, "Authorization": authorization}).status_code == 401


def test_requests__for_another_instance__are_forbidden(box, headers):
    assert get(box, "/backends", {**headers, "Service-CRN": "crn:v1:other"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/backends/ibm_fez/status", "/backends/box_manila/secrets", "/jobs/none", "/jobs/none/results", "/other"]
)
def test_requests__for_what_is_not_there__are_not_found(box, headers, path):
    assert get(box, path, headers).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"program_id": "estimator", "backend": "box_manila"}, 400),
        ({"program_id": "sampler", "backend": "ibm_fez"}, 404),
    ],
)
def test_jobs__that_the_box_cannot_run__are_refused(box, headers, body, status):
    before = len(box.jobs)

    assert requests.post(f"{box.url}/api/v1/jobs", json=body, headers=headers, timeout=10).status_code == status
    assert len(box.jobs) == before


def test_jobs__with_parameters_that_are_none__fail(box, headers):
    body = {"program_id": "sampler", "backend": "box_manila", "params": {"pubs": [["not a circuit"]]}}
    number = requests.post(f"{box.url}/api/v1/jobs", json=body, headers=headers, timeout=10).json()["id"]
    deadline = time.monotonic() + 60
    while (job := get(box, f"/jobs/{number}", headers).json())["status"] in ("Queued", "Running"):
        assert time.monotonic() < deadline

    assert job["status"] == "Failed"
    assert get(box, f"/jobs/{number}/results", headers).text


def test_box__port_taken__is_said(box):
    with pytest.raises(InputError, match="cannot be used"):
        Box(["fake_manila"], port=int(box.url.rpartition(":")[2]))
