"""What a request becomes for a server, and what an address may be."""

import pytest

from tests.support.remotes import request
from vtuber_brain.engine.server import Server, extra_body, request_body
from vtuber_brain.errors import Refused
from vtuber_brain.sections import RemoteSettings


def test_what_is_off_is_not_sent():
    assert set(request_body("base", request())) == {"model", "messages", "max_tokens", "temperature", "top_p"}
    assert extra_body(request()) == {}


def test_every_way_of_sampling_is_sent_under_the_name_servers_know():
    asked = request(
        "hi",
        7,
        stop=("\n",),
        temperature=0.7,
        top_p=0.9,
        presence_penalty=0.2,
        banned=(5, 11),
        seed=0,
        top_k=40,
        min_p=0.05,
        repetition_penalty=1.1,
    )
    assert request_body("mori", asked) == {
        "model": "mori",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 7,
        "temperature": 0.7,
        "top_p": 0.9,
        "presence_penalty": 0.2,
        "seed": 0,
        "stop": ["\n"],
        "logit_bias": {"5": -100, "11": -100},
    }
    assert extra_body(asked) == {"top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1}


@pytest.mark.parametrize(
    "url", ["gpu1:8000/v1", "//gpu1/v1", "ftp://gpu1/v1", "http://", "http://[gpu1/v1", "http://gpu1:none/v1", ""]
)
def test_an_address_that_is_no_url_is_refused_with_the_settings_name(url):
    with pytest.raises(Refused, match=r"remote\.urls"):
        Server(url, 0, RemoteSettings())


def test_what_is_shown_of_an_address_holds_no_secret():
    server = Server("http://me:hunter2@gpu1:8000/v1?key=hunter3", 0, RemoteSettings())
    assert server.endpoint.shown == "http://gpu1:8000/v1"
