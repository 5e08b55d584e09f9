#define _GNU_SOURCE
#include "include/CPosix.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

long ak_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count) {
    off64_t in = from_offset, out = to_offset;
    return copy_file_range(from, &in, to, &out, count, 0);
}

int ak_rename_noreplace(int from_dir, const char *from, int to_dir, const char *to) {
    return renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
}

int ak_rename_exchange(int from_dir, const char *from, int to_dir, const char *to) {
    return renameat2(from_dir, from, to_dir, to, RENAME_EXCHANGE);
}

int ak_start_writeback(int fd, int64_t offset, int64_t count) {
    return sync_file_range(fd, offset, count, SYNC_FILE_RANGE_WRITE);
}

#ifndef STATX_ATTR_MOUNT_ROOT
#define STATX_ATTR_MOUNT_ROOT 0x2000
#endif

int ak_is_mount_root(int fd) {
    struct statx status;
    if (statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, 0, &status) != 0) return 0;
    return (status.stx_attributes_mask & status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

int ak_syncfs(int fd) { return syncfs(fd); }

int ak_path_flag(void) { return O_PATH; }

int ak_openat(int dir, const char *path, int flags, unsigned mode) {
    return openat(dir, path, flags | O_CLOEXEC, mode);
}

int ak_fallocate(int fd, int64_t offset, int64_t count) { return fallocate(fd, 0, offset, count); }

int64_t ak_filesystem_type(int fd) {
    struct statfs s;
    return fstatfs(fd, &s) == 0 ? (int64_t)s.f_type : -1;
}

int64_t ak_peak_memory(void) {
    // What getrusage tells includes the memory of the program that this process was before exec.
    FILE *status = fopen("/proc/self/status", "re");
    char line[256];
    long long kilobytes = -1;
    while (status && kilobytes < 0 && fgets(line, sizeof line, status))
        if (sscanf(line, "VmHWM: %lld kB", &kilobytes) != 1) kilobytes = -1;
    if (status) fclose(status);
    if (kilobytes >= 0) return kilobytes * 1024;
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (int64_t)u.ru_maxrss * 1024 : 0;
}

int ak_terminal_columns(int fd) {
    struct winsize w;
    return isatty(fd) && ioctl(fd, TIOCGWINSZ, &w) == 0 ? w.ws_col : 0;
}

static volatile sig_atomic_t seen;
static struct timespec seen_at;

static void on_signal(int number) {
    int saved = errno;
    if (!seen) {
        clock_gettime(CLOCK_MONOTONIC, &seen_at);
        seen = number;
    } else {
        // Who presses twice at once means no more than once: only after a second does it kill.
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - seen_at.tv_sec) * 1000 + (now.tv_nsec - seen_at.tv_nsec) / 1000000 >= 1000) {
            signal(number, SIG_DFL);
            raise(number);
        }
    }
    errno = saved;
}

void ak_watch_signals(void) {
    struct sigaction a = {0};
    a.sa_handler = on_signal;
    sigemptyset(&a.sa_mask);
    // What the parent has set to be ignored stays so: that is what nohup does.
    const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction old;
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(numbers[i], &a, NULL);
    }
}

int ak_signal_seen(void) { return seen; }

void ak_signal_forget(void) { seen = 0; }
