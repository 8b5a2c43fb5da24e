#!/bin/bash
# User data that starts a tiny program: it answers on a port with what its guest is called, and
# goes to the first guest's, if it is told of one.
set -eu
echo "set up in $(pwd)"
apt-get update -qq && apt-get install -y tiny-package
mkdir -p /opt/tiny /etc/tiny
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}/latest
life='X-aws-ec2-metadata-token-ttl-seconds: 60'
token=$(curl -sf -X PUT -H "$life" "$metadata/api/token")
curl -sf -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/local-ipv4" > /etc/tiny/address
for place in /etc/tiny/name /tmp/tiny-was-here /dev/shm/tiny-was-here; do
    cat /etc/tiny/address > "$place"
done
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
print(os.environ["TINY"], "runs", flush=True)
address = pathlib.Path("/etc/tiny/address").read_text()
http.server.HTTPServer((address, 8000), Answer).serve_forever()
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
