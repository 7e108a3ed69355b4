"""What can be wrong with an image: all of it is found before QEMU sees the file."""
import gzip
import lzma
import subprocess

from provoke import Row, packed_twice, qcow2, raw_disk

SHA256 = 'sha256 = "' + "0" * 64 + '"'
CACHED = (r"images/[0-9a-f]+-(?=debian)", "images/0123456789abcdef-")
TIME = ((r"OpenSSL/[^:]*: ", ""),
        (r"after \d+ ms", "after 1 ms"), (r"127\.0\.0\.1(:\d+)?", "example.org"), (r"port \d+", "port 80"),
        CACHED)


def image(title, content, more=""):
    """A file that cannot be used."""
    def prepare(place):
        place.write("app/debian.img", content)
    toml = f'[image]\nbase = "debian.img"\n{more}\n'
    return Row(title, "up", toml=toml, prepare=prepare,
               replace=((r"sha256 [0-9a-f]{64}", "sha256 01234567…"), ("0{64}", "00000000…"), CACHED))


def download(title, answer, scheme="http"):
    """A server that answers with something else than an image."""
    def prepare(place):
        port = place.serve(answer)
        place.config(f'[image]\nbase = "{scheme}://127.0.0.1:{port}/debian.qcow2"\n')
    return Row(title, "up", prepare=prepare, replace=TIME)


def login_page(handler):
    """What a hotel's network says to everything."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(b"<!DOCTYPE html><html><body>Please log in.</body></html>")


def not_found(handler):
    """No such file."""
    handler.send_error(404)


def breaks_off(handler):
    """Less than was announced."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    handler.wfile.write(b"x" * 1000)


ROWS = [
    Row("The image is not there", "up", toml='[image]\nbase = "debian.qcow2"\n'),
    Row("The image is a folder", "up", toml='[image]\nbase = "/tmp/"\n'),
    image("The image is empty", b""),
    image("The image is a text", b"Hello\n" * 1000),
    image("The image is a web page", b"<!DOCTYPE html><html>"),
    image("The image is cut off (raw)", raw_disk(size=1 << 20, partition_sectors=1 << 20)),
    image("The image is cut off (qcow2)", qcow2(tables=9 << 20)),
    image("The image is a layer on another one", qcow2(backing=b"/etc/shadow")),
    image("The image keeps its data in another file", qcow2(features=4)),
    image("The image is encrypted", qcow2(encrypted=2)),
    image("The image is marked as corrupt", qcow2(features=2)),
    image("The image is of a version that QEMU has given up", qcow2(version=1)),
    image("The image is one of VMware", b"KDMV".ljust(1 << 16, b"\0")),
    image("The image is in a zip archive", b"PK\x03\x04".ljust(1 << 16, b"\0")),
    image("The image is packed and cut off", lzma.compress(raw_disk())[:60]),
    image("The image is packed with gzip and cut off", gzip.compress(raw_disk())[:60]),
    image("The image is packed twice", packed_twice()),
    image("The image is another one than sha256 says", raw_disk(), SHA256),
    Row("The image is larger than the disk", "up", toml='[image]\nbase = "debian.img"\n[resources]\ndisk = "20G"\n',
        prepare=lambda place: subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", place.path("app/debian.img"), "40G"], check=True)),
    download("A network's log-in page answers in the place of the image", login_page),
    download("The server does not have the image", not_found),
    download("The download breaks off", breaks_off),
    download("The server does not speak TLS", not_found, scheme="https"),
    Row("Nobody answers at the image's address", "up", toml='[image]\nbase = "http://127.0.0.1:9/debian.qcow2"\n',
        replace=TIME),
]
