/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the kernel's protocol has more than the libfuse at hand: requests are
 * rewritten before libfuse sees them, so that what is new arrives in terms
 * it has always known; the answer to INIT gets the flags libfuse has no name
 * for; and notifications are sent directly, since libfuse's prototype for
 * one of them has changed between versions.
 */
#ifndef COPPICE_WIRE_H
#define COPPICE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct wire {
	uint64_t init_unique; /* of the INIT request; 0: not seen, or done */
	uint64_t offered;     /* INIT flags the kernel has */
	uint64_t agreed;      /* those of them that were answered */
	uint32_t minor;       /* of the kernel's protocol */
};

/*
 * In the flags that a handler gets with write, open and create: clear suid,
 * sgid and capabilities, for the caller may not keep them.
 */
enum { WIRE_KILL_PRIV = 1 << 30 };

/* A create with this name, which no file can have, is an O_TMPFILE. */
#define WIRE_TMPFILE_NAME "/"

/*
 * Rewrite the request of *len bytes in place; `room` bytes of memory are
 * there.  Anything odd is left for libfuse to refuse.
 */
void wire_adapt(struct wire *wire, void *request, size_t *len, size_t room);

/*
 * What setxattr's handler got as name, in truth: wire_adapt() leaves the
 * request in its long form, of which libfuse knows only the short one (but
 * 3.14.0, which knows only the long one).  *ret_kill_sgid: the ACL being
 * set takes away the set-group-ID bit.
 */
const char *wire_setxattr_name(const char *name, bool *ret_kill_sgid);

/* The reply that is about to be written, if it is the one to INIT. */
void wire_patch_init(struct wire *wire, const struct iovec *iov, int count);

/* INIT flags without a name in older kernel headers. */
#define WIRE_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)
#define WIRE_HANDLE_KILLPRIV_V2 (UINT64_C(1) << 28)

/*
 * Forget the attributes of a node, and its pages too if `pages`.  Waits for
 * reads and writes of those pages that are under way.  -ENOENT: not cached.
 */
int wire_inval_inode(int fd, uint64_t ino, bool pages);
/*
 * Forget what a name stands for: at once, or (expire, since Linux 6.2) by
 * asking at its next use, which leaves what is mounted there alone.
 * Waits for operations in that directory that are under way.
 */
int wire_inval_entry(int fd, uint64_t parent, const char *name, bool expire);

#endif
