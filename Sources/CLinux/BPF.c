#define _GNU_SOURCE
#include "CLinux.h"

#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Every descriptor that bpf(2) returns is close-on-exec. It wants zeros in all that a command does not use, which an
// initializer of a union does not promise.
static int bpf(enum bpf_cmd command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

int clinux_bpf_make_event_array(uint32_t entries) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = BPF_MAP_TYPE_PERF_EVENT_ARRAY;
    attributes.key_size = sizeof(uint32_t);
    attributes.value_size = sizeof(uint32_t);
    attributes.max_entries = entries;
    return bpf(BPF_MAP_CREATE, &attributes);
}

int clinux_bpf_set_event(int map, uint32_t cpu, int event) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = (uintptr_t)&cpu;
    attributes.value = (uintptr_t)&event;
    return bpf(BPF_MAP_UPDATE_ELEM, &attributes);
}

int clinux_bpf_load(const uint64_t *instructions, uint32_t count, const char *license, enum clinux_bpf_moment moment,
    uint32_t function, char *log, uint32_t log_size) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_TRACING;
    attributes.expected_attach_type = moment == CLINUX_BPF_ENTRY ? BPF_TRACE_FENTRY : BPF_TRACE_FEXIT;
    attributes.insns = (uintptr_t)instructions;
    attributes.insn_cnt = count;
    attributes.license = (uintptr_t)license;
    attributes.attach_btf_id = function;
    if (log) {
        attributes.log_level = 1;
        attributes.log_buf = (uintptr_t)log;
        attributes.log_size = log_size;
    }
    return bpf(BPF_PROG_LOAD, &attributes);
}

int clinux_bpf_attach(int program) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.raw_tracepoint.prog_fd = (uint32_t)program;
    return bpf(BPF_RAW_TRACEPOINT_OPEN, &attributes);
}
