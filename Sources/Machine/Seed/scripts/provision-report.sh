#!/bin/sh
# Tells how the scripts of rum.toml are doing since the boot; `rum up` and `rum status` ask through the agent.
#   state   prints one line: STATE SCRIPT CODE SECONDS, of which STATE is waiting, running, failed or succeeded;
#           SCRIPT is the last one that was run, or -
#   follow  prints what they say until they have ended
set -eu
log=/run/rum/provision.log
state=/run/rum/provision.state

case $1 in
state)
    if ! read -r what script code started ended 2>/dev/null <"$state"; then
        echo "waiting - 0 0"
        exit
    fi
    case $what in waiting | running) ended=$(cut -d . -f 1 /proc/uptime) ;; esac
    echo "$what $script $code $((ended - started))"
    ;;
follow)
    until [ -e "$log" ]; do sleep 0.2; done
    tail -n +1 -f "$log" &
    reader=$!
    trap 'kill $reader' EXIT
    until grep -qE '^(succeeded|failed) ' "$state" 2>/dev/null; do sleep 0.2; done
    sleep 0.5 # for the rest of the log
    ;;
esac
