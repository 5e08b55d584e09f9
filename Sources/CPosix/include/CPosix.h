/* System calls that Swift's Glibc module does not show, as thin functions: -1 and errno on failure. */
#ifndef CPOSIX_H
#define CPOSIX_H
#include <stddef.h>
#include <stdint.h>

/// Makes all of a file system durable, of which fd is a file or directory; -1 and errno on failure.
int ak_syncfs(int fd);

/* copy_file_range(2): bytes copied, 0 at end of file. */
long ak_copy_file_range(int from, int64_t from_offset, int to, int64_t to_offset, size_t count);
/* renameat2(2) with RENAME_NOREPLACE. */
int ak_rename_noreplace(int from_dir, const char *from, int to_dir, const char *to);
/* renameat2(2) with RENAME_EXCHANGE. */
int ak_rename_exchange(int from_dir, const char *from, int to_dir, const char *to);
/* sync_file_range(2): start writing these pages back, without waiting. */
int ak_start_writeback(int fd, int64_t offset, int64_t count);
/* Whether a directory is the root of a mount; 0 where the kernel does not tell. */
int ak_is_mount_root(int fd);
/* O_PATH: a place in the file system, which need not be readable. */
int ak_path_flag(void);
/* openat(2) with O_CLOEXEC, `flags` and `mode`. */
int ak_openat(int dir, const char *path, int flags, unsigned mode);
/* fallocate(2), mode 0: -1 and errno; never falls back to writing zeros. */
int ak_fallocate(int fd, int64_t offset, int64_t count);
/* fstatfs(2): the magic number of the file system, or -1. */
int64_t ak_filesystem_type(int fd);
/* Peak resident memory of this process, in bytes. */
int64_t ak_peak_memory(void);
/* The terminal's width in columns, 0 if it is not a terminal. */
int ak_terminal_columns(int fd);
/* Sets a flag when SIGINT, SIGTERM or SIGHUP arrives; the second one kills at once. Those that are ignored stay so. */
void ak_watch_signals(void);
/* The signal that arrived, or 0. */
int ak_signal_seen(void);
/* Takes the signal that was seen as answered: the next one counts as the first. */
void ak_signal_forget(void);
#endif
