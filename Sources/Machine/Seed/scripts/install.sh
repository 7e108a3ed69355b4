#!/bin/sh
# Brings the user, the host's folders, the agent, its token and the provisioning scripts up to date with the seed, at
# every boot. The host reads from the console how that went: lines that begin with `rum-install:`. Of a seed that has the
# agent alone, as `rum agent install` brings it, only that is installed.
set -u
seed=$(cd "$(dirname "$0")" && pwd)
run=/run/rum
console=/dev/console
[ ! -c /dev/ttyS0 ] || console=/dev/ttyS0
console=${RUM_CONSOLE-$console}
tell() { { echo "rum-install: $*" >>"$console"; } 2>/dev/null || true; }

if [ "${1-}" != steps ]; then
    # Everybody may read ports.json there, and nothing else.
    mkdir -p "$run"
    chmod 0711 "$run"
    (umask 077; : >"$run/install.log"; : >"$run/complaints")
    tell begins
    # The trace tells which step failed.
    if sh -eux "$0" steps >"$run/install.log" 2>&1; then
        tell 'done'
        exit 0
    fi
    step=$(grep '^+' "$run/install.log" | tail -n 1)
    tell "failed at \"${step#+ }\": $(grep -v '^+' "$run/install.log" | tail -n 1)"
    exit 1
fi

# best_effort SCRIPT: runs it if the seed has it, and tells each line of its complaints if it fails
best_effort() {
    [ -e "$seed/$1" ] || return 0
    if sh "$seed/$1" 2>"$run/complaints"; then return; fi
    while read -r line; do tell "warning: $line"; done <"$run/complaints"
}

install -d -m 0700 /etc/rum
install -d -m 0755 /var/lib/rum
changed=
cmp -s "$seed/token" /etc/rum/token || changed=yes
install -m 0600 "$seed/token" /etc/rum/token
# The folders of the host are there before the agent is, and belong to the user. Without any the user comes last:
# making a user takes a second or two under emulation.
[ ! -e "$seed/mounts" ] || best_effort make-user
best_effort mount-folders

# The bundle is made for /opt/rum. Anywhere else its loader has to be named.
for place in /opt/rum /var/lib/rum/agent /usr/local/lib/rum; do
    if mkdir -p "$place" && touch "$place/writable"; then break; fi
    place=
done
[ -n "$place" ] || { echo "no writable folder for the agent"; exit 1; }
rm "$place/writable"
program=$place/rum-agent
[ "$place" = /opt/rum ] || program="$place/ld-linux-x86-64.so.2 $place/rum-agent"
reload=
if ! cmp -s "$seed/rum-agent.sha256" "$place/bundle.sha256"; then
    changed=yes
    rm -rf "$place.new"
    mkdir -p "$place.new"
    tar -xzf "$seed/rum-agent.tar.gz" -C "$place.new"
    # The checksum says that the bundle is whole, so it may reach the disk only after it.
    sync
    cp "$seed/rum-agent.sha256" "$place.new/bundle.sha256"
    rm -rf "$place"
    mv "$place.new" "$place"
    ! command -v restorecon || restorecon -R "$place" || true
fi

for script in provision provision-report provision-system provision-boot read-seed; do
    rm -f "/var/lib/rum/$script"
    if [ -e "$seed/$script" ]; then install -m 0700 "$seed/$script" "/var/lib/rum/$script"; fi
done
# sudo and others look the host's own name up.
if [ -e "$seed/meta-data" ]; then
    name=$(sed -n 's/^local-hostname: "\(.*\)"$/\1/p' "$seed/meta-data")
    if ! grep -qwF -- "$name" /etc/hosts; then echo "127.0.1.1 $name" >>/etc/hosts || true; fi
fi

# The host key by which rum knows this guest. cloud-init puts it on a fresh disk; this is for one that has another.
key=ssh_host_ed25519_key
if [ -e "$seed/$key" ] && [ -d /etc/ssh ] && ! cmp -s "$seed/$key" "/etc/ssh/$key"; then
    had=
    [ ! -e "/etc/ssh/$key" ] || had=yes
    install -m 0600 "$seed/$key" "/etc/ssh/$key"
    install -m 0644 "$seed/$key.pub" "/etc/ssh/$key.pub"
    # An sshd that runs already has read the other one.
    if [ -z "$had" ]; then
        :
    elif command -v systemctl; then
        systemctl try-restart --no-block ssh.service sshd.service 2>/dev/null || true
    else
        for service in ssh sshd; do
            [ ! -x "/etc/init.d/$service" ] || "/etc/init.d/$service" restart || true
        done
    fi
fi

# A guest whose kernel has no driver for vsock is reached by tcp, if the host's configuration allows it.
listen=$(cat "$seed/listen")
if grep -q vsock "$seed/listen"; then
    modprobe -q vmw_vsock_virtio_transport || true
    if ! ls -d /sys/bus/virtio/drivers/*vsock*; then
        if [ -e "$seed/listen-without-vsock" ]; then
            listen=$(cat "$seed/listen-without-vsock")
            tell "no vsock"
        else
            tell "warning: the guest's kernel ($(uname -r)) has no vsock, and rum.toml allows no other channel (advanced.channel)"
        fi
    fi
fi

# place_file NAME TARGET MODE: installs a file of the seed with what was decided here; false when it is there already
place_file() {
    sed "s|@PROGRAM@|$program|; s|@LISTEN@|$listen|" "$seed/$1" >"$run/$1"
    if cmp -s "$run/$1" "$2"; then return 1; fi
    install -m "$3" "$run/$1" "$2"
}

if command -v systemctl; then
    units=/etc/systemd/system
    { mkdir -p $units && touch $units/.rum && rm $units/.rum; } || units=/run/systemd/system
    mkdir -p $units/multi-user.target.wants
    for unit in rum-agent.service rum-provision.service rum-seed.service; do
        [ -e "$seed/$unit" ] || continue
        # systemd reads a new unit by itself; a reload takes seconds under emulation.
        new=yes
        if [ -e "$units/$unit" ]; then new=; fi
        if place_file "$unit" "$units/$unit" 0644; then
            changed=yes
            if [ -z "$new" ]; then reload=yes; fi
        fi
    done
    ln -sf ../rum-agent.service $units/multi-user.target.wants/rum-agent.service
    # Where no cloud-init does it, a unit of our own reads the seed at the next boots.
    [ ! -e "$seed/rum-seed.service" ] || command -v cloud-init || ln -sf ../rum-seed.service $units/multi-user.target.wants/rum-seed.service
    if [ "$reload" ]; then systemctl daemon-reload; fi
    if [ "$changed" ]; then systemctl restart --no-block rum-agent.service; fi
    best_effort make-user
    [ ! -e "$seed/rum-provision.service" ] || systemctl start --no-block rum-provision.service
    exit
fi

# sysvinit, OpenRC, or neither.
if place_file rum-agent.init /var/lib/rum/agent-service 0755; then changed=yes; fi
if [ -x /sbin/openrc-run ]; then
    place_file rum-agent.openrc /etc/init.d/rum-agent 0755 || true
    rc-update add rum-agent default
elif [ -d /etc/init.d ]; then
    ln -sf /var/lib/rum/agent-service /etc/init.d/rum-agent
    if command -v update-rc.d; then
        update-rc.d rum-agent defaults
    elif command -v chkconfig; then
        chkconfig --add rum-agent
    fi
fi
if [ "$changed" ]; then /var/lib/rum/agent-service stop; fi
/var/lib/rum/agent-service start
best_effort make-user
[ -e "$seed/provision" ] || exit 0
RUM_USER=$(sed -n 1p "$seed/user") setsid sh /var/lib/rum/provision >"$console" 2>&1 </dev/null &
