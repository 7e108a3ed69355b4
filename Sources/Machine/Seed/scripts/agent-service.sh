#!/bin/sh
### BEGIN INIT INFO
# Provides:          rum-agent
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: rum agent
### END INIT INFO
# Keeps the agent running where there is no systemd: it is started again when it ends.
pidfile=/run/rum-agent.pid
program="@PROGRAM@"
arguments="@LISTEN@ --token-file /etc/rum/token --ports-file /run/rum/ports.json"

is_running() { [ -s "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }
start() {
    ! is_running || return 0
    modprobe -qa vmw_vsock_virtio_transport inet_diag tcp_diag 2>/dev/null
    [ -e /run/rum/folders-mounted ] || [ ! -e /var/lib/rum/read-seed ] || sh /var/lib/rum/read-seed mount-folders
    # A session of its own, so that `stop` can end all of it, and nothing else ends it.
    # shellcheck disable=SC2086 # both are lists of words
    # shellcheck disable=SC2016 # $$ and $@ are for the inner shell
    setsid sh -c 'echo $$ >"$0"; while :; do "$@"; sleep 0.2; done' "$pidfile" $program $arguments \
        >>/run/rum-agent.log 2>&1 </dev/null &
    # The seed is read in the background: its provisioning may take long.
    [ ! -e /var/lib/rum/read-seed ] || setsid sh /var/lib/rum/read-seed >/dev/null 2>&1 </dev/null &
}
stop() {
    if is_running; then kill -- "-$(cat "$pidfile")"; fi
    rm -f "$pidfile"
}
case ${1-} in
start) start ;;
stop) stop ;;
restart | force-reload) stop; start ;;
status) is_running ;;
*) echo "usage: $0 start|stop|restart|status" >&2; exit 2 ;;
esac
