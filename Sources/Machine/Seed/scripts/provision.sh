#!/bin/sh
# Runs the scripts of rum.toml: the first until it has succeeded once, the second at every boot. They may count on the
# user, whom cloud-init makes meanwhile, and on the network where there is one.
# What they say goes to the log, which this script copies to the console; provision-report reads log and state.
set -u
cd /
run=/run/rum
log=$run/provision.log
state=$run/provision.state
install -d -m 0711 "$run"
(umask 077; : >"$log")

uptime() { cut -d . -f 1 /proc/uptime; }
started=$(uptime)
# tell STATE SCRIPT CODE: a line with these, and when this began and ended, in seconds since the boot
tell() {
    echo "$1 $2 $3 $started $(uptime)" >"$state.new"
    mv "$state.new" "$state"
}

tell waiting - 0
tries=600
until id "$RUM_USER" && cut -f 2 /proc/net/route | grep -q '^00000000$' || [ $tries = 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done >/dev/null 2>&1

export HOME=/root USER=root LOGNAME=root SHELL=/bin/sh DEBIAN_FRONTEND=noninteractive
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The daily update may hold apt's locks for a while after a boot.
echo 'DPkg::Lock::Timeout "600";' >"$run/apt.conf"
export APT_CONFIG=$run/apt.conf

# The scripts write to the log itself and not to a pipe: what they leave running would keep a pipe open for ever.
tail -n +1 -f "$log" &
copier=$!

# run_script NAME: ends with the script's exit code unless that is 0
ran=-
run_script() {
    ran=$1
    tell running "$1" 0
    code=0
    "/var/lib/rum/provision-$1" >>"$log" 2>&1 </dev/null || code=$?
    [ "$code" = 0 ] || end failed "$1" "$code"
}
end() {
    tell "$1" "$2" "$3"
    sleep 1 # for the rest of the log
    kill "$copier"
    exit "$3"
}
if [ -e /var/lib/rum/provision-system ] && [ ! -e /var/lib/rum/provisioned ]; then
    run_script system
    touch /var/lib/rum/provisioned
fi
if [ -e /var/lib/rum/provision-boot ]; then run_script boot; fi
end succeeded "$ran" 0
