#!/bin/sh
# Brings the agent, its token and the provisioning scripts up to date with the seed.
set -eu
seed=$(dirname "$0")

install -d -m 0700 /etc/rum
install -d -m 0755 /var/lib/rum
install -m 0600 "$seed/token" /etc/rum/token

changed=
reload=
if ! cmp -s "$seed/rum-agent.sha256" /opt/rum/bundle.sha256; then
    changed=yes
    rm -rf /opt/rum.new
    mkdir -p /opt/rum.new
    tar -xzf "$seed/rum-agent.tar.gz" -C /opt/rum.new
    cp "$seed/rum-agent.sha256" /opt/rum.new/bundle.sha256
    rm -rf /opt/rum
    mv /opt/rum.new /opt/rum
fi

for script in provision provision-report provision-system provision-boot; do
    rm -f "/var/lib/rum/$script"
    if [ -e "$seed/$script" ]; then install -m 0700 "$seed/$script" "/var/lib/rum/$script"; fi
done

for unit in rum-agent.service rum-provision.service; do
    if ! cmp -s "$seed/$unit" "/etc/systemd/system/$unit"; then
        changed=yes
        # systemd reads a new unit by itself; a reload takes seconds under emulation.
        if [ -e "/etc/systemd/system/$unit" ]; then reload=yes; fi
        install -m 0644 "$seed/$unit" "/etc/systemd/system/$unit"
    fi
done
# sudo and others look the host's own name up.
name=$(sed -n 's/^local-hostname: "\(.*\)"$/\1/p' "$seed/meta-data")
if ! grep -qwF -- "$name" /etc/hosts; then echo "127.0.1.1 $name" >>/etc/hosts; fi

# The host key by which rum knows this guest. cloud-init puts it on a fresh disk; this is for one that has another.
key=ssh_host_ed25519_key
if [ -e "$seed/$key" ] && [ -d /etc/ssh ] && ! cmp -s "$seed/$key" "/etc/ssh/$key"; then
    had=
    [ ! -e "/etc/ssh/$key" ] || had=yes
    install -m 0600 "$seed/$key" "/etc/ssh/$key"
    install -m 0644 "$seed/$key.pub" "/etc/ssh/$key.pub"
    # An sshd that runs already has read the other one.
    if [ "$had" ]; then systemctl try-restart --no-block ssh.service sshd.service 2>/dev/null || true; fi
fi

mkdir -p /etc/systemd/system/multi-user.target.wants
ln -sf ../rum-agent.service /etc/systemd/system/multi-user.target.wants/rum-agent.service
if [ "$reload" ]; then systemctl daemon-reload; fi
if [ "$changed" ]; then systemctl restart --no-block rum-agent.service; fi
systemctl start --no-block rum-provision.service
