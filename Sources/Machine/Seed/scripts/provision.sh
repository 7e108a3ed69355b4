#!/bin/sh
# The scripts of rum.toml: the first until it has succeeded once, the second at every boot. They may count on
# the user, whom cloud-init makes meanwhile, and on the network where there is one.
set -eu
cd /
tries=600
until id "$RUM_USER" && cut -f 2 /proc/net/route | grep -q '^00000000$' || [ $tries = 0 ]; do
    tries=$((tries - 1))
    sleep 0.1
done >/dev/null 2>&1
if [ -e /var/lib/rum/provision-system ] && [ ! -e /var/lib/rum/provisioned ]; then
    /var/lib/rum/provision-system
    touch /var/lib/rum/provisioned
fi
if [ -e /var/lib/rum/provision-boot ]; then /var/lib/rum/provision-boot; fi
