// Lets the thread sanitizer see the locks of Swift's Mutex, as a library to preload.
//
// An uncontended lock is taken and given back by atomic operations in the program itself, which the sanitizer instruments. A
// contended one is handed on in libswiftSynchronization, by the kernel (FUTEX_LOCK_PI, FUTEX_UNLOCK_PI), which it does not see:
// everything under such a lock would be reported as a race. So these stand before that library's functions, and tell the sanitizer
// when a lock has been taken and when it is given back. (_MutexHandle in Swift's
// stdlib/public/Synchronization/Mutex/LinuxImpl.swift; the calling convention is LLVM's swiftcc.)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>

// Absent in programs without the sanitizer, such as those that tests start from the system.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

#define MUTEX void *mutex __attribute__((swift_context))
#define LOCK_SLOW "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK_SLOW "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

typedef __attribute__((swiftcall)) void lock_function(uint32_t thread, MUTEX);
typedef __attribute__((swiftcall)) void unlock_function(MUTEX);

__attribute__((swiftcall)) void lock_slow(uint32_t thread, MUTEX) __asm__(LOCK_SLOW);
__attribute__((swiftcall)) void unlock_slow(MUTEX) __asm__(UNLOCK_SLOW);

static void *next(void **found, const char *name) {
    void *function = __atomic_load_n(found, __ATOMIC_RELAXED);
    if (!function) {
        function = dlsym(RTLD_NEXT, name);
        __atomic_store_n(found, function, __ATOMIC_RELAXED);
    }
    return function;
}

__attribute__((swiftcall)) void lock_slow(uint32_t thread, MUTEX) {
    static void *found;
    ((lock_function *)next(&found, LOCK_SLOW))(thread, mutex);
    if (__tsan_acquire) {
        __tsan_acquire(mutex);
    }
}

__attribute__((swiftcall)) void unlock_slow(MUTEX) {
    static void *found;
    if (__tsan_release) {
        __tsan_release(mutex);
    }
    ((unlock_function *)next(&found, UNLOCK_SLOW))(mutex);
}
