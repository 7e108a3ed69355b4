/* libvirt's C API, and its QEMU-specific part for virDomainQemuMonitorCommand. */
#pragma once
#include <libvirt/libvirt.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
