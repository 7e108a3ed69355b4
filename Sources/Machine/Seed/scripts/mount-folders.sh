#!/bin/sh
# Mounts the folders of the host, at every boot before the agent starts. Each line of `mounts` is: type of file system, tag,
# ro or rw, path. One that cannot be mounted is told, and does not keep the others from it.
set -u
seed=$(dirname "$0")
mkdir -p /run/rum
chmod 0711 /run/rum
# The agent's service and `install` may both be here.
exec 9>/run/rum/mount.lock
! command -v flock >/dev/null || flock 9
mark=/run/rum/folders-mounted
[ -e "$seed/mounts" ] || : >"$mark"
[ ! -e "$mark" ] || exit 0
user=$(sed -n 1p "$seed/user")
failed=

# The folder `$1` and those above it; what is made below the user's home belongs to the user.
make_folder() {
    [ ! -d "$1" ] || return 0
    make_folder "$(dirname "$1")" && mkdir "$1" || return 1
    case $1 in "/home/$user"/*) chown "$user:" "$1" ;; esac
}

kernel_knows() {
    grep -qw "$1" /proc/filesystems && return 0
    case $1 in
    9p) modprobe -qa 9pnet_virtio 9p ;;
    *) modprobe -q "$1" ;;
    esac 2>/dev/null
    grep -qw "$1" /proc/filesystems
}

while IFS=' ' read -r type tag mode path; do
    if grep -qF " $(printf '%s' "$path" | sed 's/\\/\\134/g; s/ /\\040/g') $type " /proc/mounts; then continue; fi
    options=$mode
    # mmap: programs map files that they also write; msize: the default makes many small requests.
    [ "$type" != 9p ] || options="$mode,trans=virtio,version=9p2000.L,cache=mmap,msize=262144"
    if ! kernel_knows "$type"; then
        complaint="the guest's kernel ($(uname -r)) has no $type"
    elif ! complaint=$(make_folder "$path" 2>&1 && mount -t "$type" -o "$options" "$tag" "$path" 2>&1); then
        complaint=$(echo "$complaint" | tail -n 1)
    else
        continue
    fi
    failed=yes
    echo "the folder $path is not mounted: $complaint" >&2
done <"$seed/mounts"
[ -z "$failed" ] && : >"$mark"
