"""AWS's control plane as moto knows it, over HTTP: to commands on this machine, and to guests."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from enforced_policies import enforced
from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_api._internal.models import moto_api_backend
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.sts.models import sts_backends
from werkzeug.serving import BaseWSGIServer, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REGION = "eu-west-1"
_ANY_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
LOOPBACK = "127.0.0.1"
ACCOUNT = DEFAULT_ACCOUNT_ID


class Moto:
    """One moto behind as many sockets as there are networks it must be reached from.

    Everything it knew before is forgotten when it starts.
    """

    def __init__(self) -> None:
        # It would read several thousand images, of which nobody here has any use.
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        self._app = _without_prices(DomainDispatcherApplication(create_backend_app))
        self._keys = _ANY_KEYS
        self._stack = ExitStack()
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._servers: list[tuple[BaseWSGIServer, threading.Thread]] = []
        self.endpoint = self.serve(listening(LOOPBACK))
        moto_api_backend.reset()

    def serve(self, listener: socket.socket) -> str:
        """Answer on this socket too; the URL there. The socket is moto's from now on."""
        host, port = listener.getsockname()[:2]
        server = make_server(
            host,
            port,
            self._app,
            threaded=True,
            request_handler=_Quiet,
            fd=listener.fileno(),
        )
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        self._servers.append((server, thread))
        listener.close()  # werkzeug has a duplicate of its own
        return f"http://{host}:{port}"

    def enforce_policies(self) -> None:
        """From now on everybody may do what policies allow them, and we everything."""
        everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
        self._keys = self.keys_of("us", everything)
        with self._lock:
            self._clients.clear()
        self._stack.enter_context(enforced())

    def keys_of(self, name: str, *statements: Any) -> dict[str, str]:
        """Variables with the keys of a new user of the account, who has these rights."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
        return {variable: made[key] for variable, key in names.items()}

    def role_credentials(self, arn: str, session: str) -> dict[str, str]:
        """What EC2 gets for a machine's role, which trusts nobody else: by no call of a user's."""
        given = sts_backends[ACCOUNT]["aws"].assume_role(REGION, session, arn, "", 6 * 3600, "")
        return {
            "AccessKeyId": given.access_key_id,
            "SecretAccessKey": given.secret_access_key,
            "SessionToken": given.session_token,
        }

    def client(self, service: str) -> Any:
        """A boto3 client for a test's own questions; made once, which takes a while."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = boto3.client(
                    service,
                    endpoint_url=self.endpoint,
                    region_name=REGION,
                    aws_access_key_id=self._keys["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=self._keys["AWS_SECRET_ACCESS_KEY"],
                    config=Config(retries={"mode": "standard", "max_attempts": 5}),
                )
            return self._clients[service]

    @property
    def environment(self) -> dict[str, str]:
        """What a command on this machine needs to take it for AWS, and for nothing real."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        return {
            **ours,
            "AWS_ENDPOINT_URL": self.endpoint,
            **_ANY_KEYS,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def close(self) -> None:
        """Answer no more."""
        self._stack.close()
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.server_close()
        self._servers.clear()


def _without_prices(app: WSGIApplication) -> WSGIApplication:
    """Moto knows none, and fails with a traceback; where it is asked for some, say no."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "/pricing/aws4_request" not in environ.get("HTTP_AUTHORIZATION", ""):
            return app(environ, start_response)
        start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
        return [b'{"__type": "AccessDeniedException", "message": "no prices here"}']

    return answer


def listening(address: str, port: int = 0) -> socket.socket:
    """A TCP socket that listens there; port 0: a free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(128)
    return listener


class _Quiet(MotoRequestHandler):  # type: ignore[misc]
    def log(self, *_words: Any) -> None:
        """A request is nobody's news."""
