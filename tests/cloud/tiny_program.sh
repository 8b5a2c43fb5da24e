#!/bin/bash
# User data that starts a tiny program: it answers on a port with what its guest is called, and
# goes to the first guest's, if it is told of one.
set -eu
echo "set up as $(id -un) in $(pwd)"
apt-get update -qq && apt-get install -y tiny-package
mkdir -p /opt/tiny /etc/tiny
echo "$(hostname)" > /etc/tiny/name
echo "$(hostname)" > /tmp/tiny-was-here
echo "$(hostname)" > /dev/shm/tiny-was-here
cat > /opt/tiny/answer.py <<'END'
import http.server, os, pathlib, signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: (print("told to end", flush=True), sys.exit(0)))
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(pathlib.Path("/etc/tiny/name").read_bytes())
    def do_POST(self):
        self.do_GET()
        subprocess.Popen(["shutdown", "-h", "now"] if self.path == "/off" else ["true"])
        if self.path == "/die": os.kill(os.getpid(), signal.SIGKILL)
    def log_message(self, *words): pass
print(f"{os.environ['TINY']} as {os.getuid()}", flush=True)
http.server.HTTPServer(("", 8000), Answer).serve_forever()
END
cat > /etc/systemd/system/tiny.service <<'END'
[Unit]
Description=A tiny program
After=network-online.target

[Service]
ExecStart=/usr/bin/python3 -B ${WHERE}/answer.py
Environment=WHERE=/opt/tiny "TINY=a tiny program"
WorkingDirectory=/opt/tiny
Restart=on-failure
RestartSec=100ms

[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now tiny.service
systemctl is-active tiny
