#!/bin/sh
# Run as root by `rum agent install`, in a folder with the agent and its service: installs and starts it. What it says goes to
# the host: lines that begin with `rum-install:`, as those of a machine's console.
set -u
kit=$(cd "$(dirname "$0")" && pwd)
fail() {
    echo "rum-install: failed at \"$1\": $2"
    exit 1
}
# The agent's last complaint.
complaint() {
    { journalctl -q -u rum-agent -n 20 -o cat || tail -n 20 /run/rum-agent.log; } 2>/dev/null |
        sed -n 's/^\(rum-agent: \)\{0,1\}error: //p' | tail -n 1
}

[ "$(uname -sm)" = "Linux x86_64" ] || fail "uname -sm" "the agent is for Linux on x86_64, and this is $(uname -sm)"
[ ! -e /var/lib/rum/read-seed ] || fail "another agent" "this is a machine of rum up, which brings its agent at each boot"
: >"$kit/console"
RUM_CONSOLE=$kit/console sh "$kit/install" >/dev/null 2>&1
cat "$kit/console"
grep -qx 'rum-install: done' "$kit/console" || exit 1

# Waits for the restart that was begun there: until then the agent before may listen.
! command -v systemctl >/dev/null || systemctl start rum-agent.service >/dev/null 2>&1
for place in /opt/rum /var/lib/rum/agent /usr/local/lib/rum; do [ ! -x "$place/rum-agent" ] || break; done
listeners() { "$place"/ld-linux-x86-64.so.2 "$place/rum-agent" list --range 2222-2223 | grep -c rum-agent; }
tries=100
until [ "$(listeners)" = 2 ]; do
    tries=$((tries - 1))
    [ $tries -gt 0 ] || fail "starting the agent" "$(complaint)"
    sleep 0.2
done
echo "rum-install: listening"
