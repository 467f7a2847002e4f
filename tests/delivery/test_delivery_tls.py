"""TLS as it should not be: what a device's own TLS says of it, and what is written down."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from pytest_blynk_ota.delivery import faults
from pytest_blynk_ota.delivery.server import DeliveryServer
from pytest_blynk_ota.errors import UsageError

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

REFUSED = {
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "unknown-ca": "unable to get local issuer certificate",
    "self-signed": "self-signed certificate",
    "wrong-name": "mismatch",
}


def offered(bench, firmware_bytes, *listed):
    return bench.offer(firmware_bytes, *listed, https=True)


def connected(url):
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), 10)


def shaken(url, context):
    return context.wrap_socket(connected(url), server_hostname=urlsplit(url).hostname)


def hello(context):
    """The first flight of an OpenSSL client."""
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def rest(sock):
    """All that comes until the end; how that was."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        return data, "rst"
    return data, "fin"


def test_a_file_arrives_whole_over_https_and_the_handshake_is_on_record(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes)
    url = campaign.offer("o1")
    assert url.startswith("https://127.0.0.1:")
    assert bench.get(url).body == firmware_bytes
    shook = bench.wait("handshake").data
    assert (shook["version"], shook["why"]) == ("TLSv1.3", None)
    assert shook["cipher"].startswith("TLS_")
    ended = bench.wait("ended").data
    assert (ended["acked"], ended["how"]) == (len(firmware_bytes), "complete")


def test_a_url_is_served_in_its_own_scheme_only(bench, firmware_bytes):
    secure = offered(bench, firmware_bytes).offer("o1")
    plain = bench.offer(firmware_bytes).offer("o2")
    swapped = (
        f"{plain.split('/f/')[0]}/f/{secure.split('/f/')[1]}",
        f"{secure.split('/f/')[0]}/f/{plain.split('/f/')[1]}",
    )
    assert [bench.get(url).status for url in swapped] == [404, 404]


def test_https_without_an_authority_is_refused(bench, firmware_bytes):
    server = DeliveryServer(bench.timeline.add)
    with pytest.raises(UsageError, match="authority"):
        server.campaign("c3-a", firmware_bytes, name="new.bin", https=True)


def test_plain_http_at_the_https_port_is_written_down(bench, firmware_bytes):
    url = offered(bench, firmware_bytes).offer("o1")
    with connected(url) as device:
        device.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        rest(device)
    assert "no TLS" in bench.wait("handshake").data["why"]


@pytest.mark.parametrize("how", REFUSED)
def test_a_wrong_certificate_is_wrong_in_just_that(bench, firmware_bytes, how):
    campaign = offered(bench, firmware_bytes, faults.tls(how).on_attempt(1))
    with pytest.raises(ssl.SSLCertVerificationError, match=REFUSED[how]):
        shaken(campaign.offer("o1"), bench.trusting())
    fired = bench.wait("fault", phase="fired")
    assert (fired.board, fired.data["offer"], fired.data["attempt"]) == ("c3-a", "o1", 1)
    assert bench.wait("handshake").data["why"]
    bench.wait("fault", phase="over")
    assert campaign.attempts == 1
    assert bench.get(campaign.offer("o2")).body == firmware_bytes
    assert bench.wait("request").data["attempt"] == 2


def test_a_device_that_takes_any_certificate_gets_the_file_in_that_attempt(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes, faults.tls("unknown-ca").on_attempt(1))
    url = campaign.offer("o1")
    careless = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    device = shaken(url, careless)
    device.sendall(f"GET {url.split(':', 2)[2][5:]} HTTP/1.0\r\n\r\n".encode())
    data, _ = rest(device)
    assert data.endswith(firmware_bytes)
    assert bench.wait("request").data["attempt"] == 1
    assert campaign.attempts == 1


@pytest.mark.parametrize(("how", "version"), [("only-1.2", "TLSv1.2"), ("only-1.3", "TLSv1.3")])
def test_only_one_version_is_spoken(bench, firmware_bytes, how, version):
    campaign = offered(bench, firmware_bytes, faults.tls(how))
    url = campaign.offer("o1")
    with shaken(url, bench.trusting()) as device:
        assert device.version() == version
    other = ssl.TLSVersion.TLSv1_3 if version == "TLSv1.2" else ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        shaken(url, bench.trusting(minimum_version=other, maximum_version=other))
    assert len(bench.seen("fault", phase="fired")) == 2


def test_a_version_that_is_not_offered_is_refused_by_that_alert(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes, faults.tls("version"))
    with connected(campaign.offer("o1")) as device:
        device.sendall(hello(bench.trusting()))
        assert rest(device) == (bytes.fromhex("15030300020246"), "fin")
    bench.wait("fault", phase="over")


def test_a_stalled_handshake_takes_the_hello_and_says_nothing(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes, faults.tls("stalled-handshake"))
    with connected(campaign.offer("o1")) as device:
        device.sendall(hello(bench.trusting()))
        bench.wait("fault", phase="fired")
        device.settimeout(0.2)
        with pytest.raises(TimeoutError):
            device.recv(1)
        assert not bench.seen("fault", phase="over")
    bench.wait("fault", phase="over")
    assert not bench.seen("request")


def test_a_stalled_handshake_goes_on_when_its_event_is_seen(bench, firmware_bytes):
    fault = faults.tls("stalled-handshake").until_event("go")
    campaign = offered(bench, firmware_bytes, fault)
    url = campaign.offer("o1")
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(bench.get, url)
        bench.wait("fault", phase="fired")
        campaign.saw("login")
        assert not bench.seen("handshake")
        campaign.saw("go")
        assert got.result().body == firmware_bytes
    over = bench.wait("fault", phase="over")
    assert over.seq < bench.wait("handshake", why=None).seq
    assert [event.data["attempt"] for event in bench.seen("request")] == [1]


def test_closing_the_campaign_ends_a_stalled_handshake(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes, faults.tls("stalled-handshake"))
    with connected(campaign.offer("o1")) as device:
        device.sendall(hello(bench.trusting()))
        bench.wait("fault", phase="fired")
        begun = time.monotonic()
        campaign.close()
        assert time.monotonic() - begun < 1
        assert rest(device) == (b"", "fin")
        assert len(bench.seen("fault", phase="over")) == 1


def test_a_cut_handshake_ends_by_fin_in_the_midst_of_the_servers_flight(bench, firmware_bytes):
    campaign = offered(bench, firmware_bytes, faults.tls("cut-handshake"))
    with connected(campaign.offer("o1")) as device:
        device.sendall(hello(bench.trusting()))
        data, ended = rest(device)
    assert data[:1] == b"\x16"  # a handshake record: ServerHello
    assert len(data) > 100
    assert ended == "fin"
    with pytest.raises(ssl.SSLEOFError):
        shaken(campaign.offer("o2"), bench.trusting())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_device_without_a_certificate_is_refused_where_one_is_wanted(
    bench, firmware_bytes, version
):
    url = offered(bench, firmware_bytes, faults.tls("client-certificate")).offer("o1")
    context = bench.trusting(minimum_version=version, maximum_version=version)

    def asks():
        device = shaken(url, context)
        device.sendall(b"GET / HTTP/1.0\r\n\r\n")  # TLS 1.3: it thinks that all is well
        rest(device)

    with pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|CERTIFICATE_REQUIRED"):
        asks()
    assert "peer did not return a certificate" in bench.wait("handshake").data["why"]
    assert not bench.seen("request")


@needs_curl
@pytest.mark.parametrize(("how", "code"), [
    ("expired", 60), ("unknown-ca", 60), ("self-signed", 60), ("wrong-name", 60),
    ("version", 35), ("cut-handshake", 35), ("client-certificate", 56),
])  # fmt: skip
def test_curl_names_it_by_its_own_code(bench, firmware_bytes, tmp_path, how, code):
    ca = tmp_path / "ca.pem"
    ca.write_text(bench.ca_pem)
    url = offered(bench, firmware_bytes, faults.tls(how).on_attempt(1)).offer("o1")
    done = subprocess.run(["curl", "-s", "--cacert", ca, "-o", "/dev/null", url], timeout=10)
    assert done.returncode == code
