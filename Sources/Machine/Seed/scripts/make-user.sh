#!/bin/sh
# Makes the user of rum.toml, with sudo and the keys that may log in, as far as that is not so already. It is run at every
# boot before the folders of the host are mounted; cloud-init finds the user and adds what it knows.
# The user gets the ID of the host's user where that is free, so that files in mounted folders belong to both.
set -eu
[ -e /etc/passwd ] || exit 0
seed=$(dirname "$0")
{ read -r name && read -r id; } <"$seed/user"

if ! id "$name" >/dev/null 2>&1; then
    shell=/bin/sh
    [ ! -x /bin/bash ] || shell=/bin/bash
    if [ -n "$id" ] && grep -q "^[^:]*:[^:]*:$id:" /etc/passwd; then id=; fi
    if command -v useradd >/dev/null; then
        useradd --create-home --user-group --shell "$shell" ${id:+--uid "$id"} "$name" ||
            useradd --create-home --shell "$shell" "$name"
        # Locked for passwords, but not for keys.
        usermod -p '*' "$name"
    else
        adduser -D -s "$shell" ${id:+-u "$id"} "$name"
        sed -i "s/^$name:!/$name:*/" /etc/shadow
    fi
fi
if [ "$name" != root ] && [ -d /etc/sudoers.d ]; then
    # Only a whole file of the right mode may ever be there: sudo refuses to work otherwise.
    (umask 0337 && echo "$name ALL=(ALL) NOPASSWD:ALL" >/etc/rum/sudoers)
    mv -f /etc/rum/sudoers /etc/sudoers.d/rum
fi

home=$(sed -n "s/^$name:[^:]*:[^:]*:[^:]*:[^:]*:\([^:]*\):.*/\1/p" /etc/passwd)
[ -n "$home" ] || exit 0
keys=$home/.ssh/authorized_keys
before=/etc/rum/authorized_keys
# Keys that rum.toml had at the last boot and has no more go; those from elsewhere stay.
touch "$before"
if ! cmp -s "$seed/authorized_keys" "$before" || [ ! -e "$keys" ]; then
    mkdir -p "$home/.ssh"
    chmod 0700 "$home/.ssh"
    touch "$keys"
    cat "$before" "$seed/authorized_keys" >/etc/rum/known_keys
    (umask 0077 && { grep -vxFf /etc/rum/known_keys "$keys" || true; cat "$seed/authorized_keys"; } >"$keys.new")
    mv "$keys.new" "$keys"
    chown -R "$name" "$home/.ssh"
    ! command -v restorecon >/dev/null || restorecon -R "$home/.ssh" || true
    cp "$seed/authorized_keys" "$before"
    rm /etc/rum/known_keys
fi
