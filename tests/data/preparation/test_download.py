"""Downloads from a server of the test's own: whole, cut, gone on with, wrong."""

import hashlib
import http.server
import threading

import pytest

from tokenjax.data.preparation import download
from tokenjax.errors import DatasetError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A server with a log of the ranges asked for, and what it is told to do."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            self.server.ranges.append(asked)
            first = int(asked[6:-1]) if asked and self.server.takes_ranges else 0
            if first >= len(CONTENT):
                self.send_error(416)
                return
            rest = CONTENT[first:]
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest[: self.server.cut])

        def log_message(self, *_):
            pass

    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(download, "reachable", lambda urls, seconds: True)
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.ranges, found.takes_ranges, found.cut = [], True, None
    found.url = f"http://127.0.0.1:{found.server_port}/file.bin"
    thread = threading.Thread(target=found.serve_forever, args=(0.01,))
    thread.start()
    yield found
    found.shutdown()
    found.server_close()
    thread.join()


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    path = tmp_path / "new" / "file.bin"
    download.fetch(server.url, path, MD5)
    download.fetch(server.url, path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert [each.name for each in path.parent.iterdir()] == ["file.bin"]
    shown = capsys.readouterr().err
    assert "file.bin" in shown
    assert "100%" in shown


@pytest.mark.parametrize("takes_ranges", [True, False])
def test_what_was_cut_goes_on_or_begins_anew(server, tmp_path, takes_ranges):
    path = tmp_path / "file.bin"
    server.cut, server.takes_ranges = 300_000, takes_ranges
    with pytest.raises(DatasetError, match="goes on from byte 300,000; or fetch"):
        download.fetch(server.url, path, MD5)
    assert not path.exists()
    server.cut = None
    download.fetch(server.url, path, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-"]


def test_a_whole_part_is_taken(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    download.fetch(server.url, tmp_path / "file.bin", MD5)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_another_file_is_removed(server, tmp_path):
    with pytest.raises(DatasetError, match="another MD5 than 0000 and was removed"):
        download.fetch(server.url, tmp_path / "file.bin", "0000")
    assert list(tmp_path.iterdir()) == []


def test_a_file_put_there_by_hand_is_checked(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"another")
    with pytest.raises(DatasetError, match="it is not whole, or another file"):
        download.fetch(server.url, tmp_path / "file.bin", MD5)
    assert server.ranges == []


def test_a_server_that_refuses(server, tmp_path):
    with pytest.raises(DatasetError, match=r"failed.*put it at"):
        download.fetch("http://127.0.0.1:9/file.bin", tmp_path / "file.bin", MD5)
