"""Certificates for a server beyond this machine, and whether its binary can use them."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import psutil

from errors import ConfigError, ResourceExhausted, ServiceUnavailable
from fleet.security.private_files import write_private

_OPENSSL_S = 30.0
_ASK_S = 10.0
_DAYS = 3650
_CAN_TLS = "tls-port 1\nport 0\n"
_CANNOT = ("TLS support", "Bad directive", "FATAL CONFIG")

_REQUEST = """[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = walking-es
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
subjectAltName = {names}
"""


class TlsFiles(NamedTuple):
    """A server's certificate and key.

    Attributes:
        certificate, key: PEM; the key is the server's alone.
        ca_file: what clients believe it by: itself, where we signed it; ``None`` where that is
            known to the system, or to the user who gave it.
    """

    certificate: Path
    key: Path
    ca_file: Path | None = None


def require_tls(binary: Path) -> None:
    """Refuse a server that was built without TLS.

    Raises:
        ServiceUnavailable: it was; no other way is as sure as asking the binary.
    """
    try:
        # Without a certificate none starts: what it says tells whether it missed one.
        asked = subprocess.run(
            [binary, "-"], input=_CAN_TLS, capture_output=True, text=True, timeout=_ASK_S
        )
    except subprocess.TimeoutExpired:
        return
    said = asked.stdout + asked.stderr
    if any(sign in said for sign in _CANNOT):
        raise ServiceUnavailable(
            f"{binary} was built without TLS: install redis-server (or name one in "
            "ES_REDIS_SERVER), or say --no_tls where the network itself encrypts or is yours "
            "alone (WireGuard, ssh -L, a private subnet)"
        )


def checked_files(certificate: Path, key: Path) -> TlsFiles:
    """The two of them, made sure that they belong together.

    Raises:
        ConfigError: they do not, or cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"--tls_cert={certificate} and --tls_key={key} cannot be used ({error}): expected a "
            "certificate and its key without a passphrase, both PEM"
        ) from None
    return TlsFiles(certificate.resolve(), key.resolve())


def self_signed(folder: Path, bind: str) -> tuple[TlsFiles, bool]:
    """A certificate for the names and addresses of this machine, in ``folder``.

    Kept for as long as it covers them, since workers elsewhere have copies of it.

    Returns:
        The files, and whether they are new.

    Raises:
        ServiceUnavailable: there is no ``openssl`` to make one with.
        ResourceExhausted: it failed.
    """
    files = TlsFiles(folder / "server.crt", folder / "server.key")
    covered = folder / "server.names"
    names = _names(bind)
    if covered.exists() and files.certificate.exists() and files.key.exists():
        if names <= set(covered.read_text().split()):
            return _believed(files), False
        names |= set(covered.read_text().split())
    openssl = shutil.which("openssl")
    if openssl is None:
        raise ServiceUnavailable(
            "no `openssl` here to make a certificate: install it, or name your own with "
            "--tls_cert and --tls_key, or say --no_tls where the network itself encrypts"
        )
    request = folder / "server.request"
    write_private(request, _REQUEST.format(names=",".join(sorted(map(_alternative, names)))))
    write_private(files.key, "")  # openssl keeps the mode of a file that is there
    command = [openssl, "req", "-x509", "-newkey", "rsa:3072", "-nodes", "-days", str(_DAYS)]
    command += ["-config", str(request), "-keyout", str(files.key), "-out", str(files.certificate)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_OPENSSL_S, check=False)
    request.unlink()
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
        raise ResourceExhausted(
            f"openssl could not make a certificate ({said}): name your own with --tls_cert and "
            "--tls_key"
        )
    write_private(covered, "\n".join(sorted(names)) + "\n")
    return _believed(files), True


def _believed(files: TlsFiles) -> TlsFiles:
    checked = checked_files(files.certificate, files.key)
    return checked._replace(ca_file=checked.certificate)


def _names(bind: str) -> set[str]:
    """What clients may call this machine by: ``bind``, or all it has where that is a wildcard.

    This machine itself and a tunnel (``ssh -L``) call it localhost.
    """
    names = {"localhost", "127.0.0.1", "::1"}
    name = socket.gethostname()
    if name.isascii() and " " not in name:
        names.add(name)
    try:
        is_wildcard = ip_address(bind).is_unspecified
    except ValueError:
        is_wildcard = False
    if not is_wildcard:
        return names | {bind}
    found = (one.address for many in psutil.net_if_addrs().values() for one in many)
    return names | {address for address in found if _is_address(address)}


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False  # a hardware address, or a link's own with its zone
    return "%" not in text


def _alternative(name: str) -> str:
    return f"IP:{name}" if _is_address(name) else f"DNS:{name}"
