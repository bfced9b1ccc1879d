/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the kernel's protocol has more than the libfuse at hand: requests are
 * rewritten before libfuse sees them, so that what is new arrives in terms
 * it has always known; the answer to INIT gets the flags libfuse has no name
 * for; and notifications are sent directly, since libfuse's prototype for
 * one of them has changed between versions.
 */
#ifndef COPPICE_PROTOCOL_H
#define COPPICE_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct protocol {
	bool no_export;       /* refuse file handles */
	uint64_t init_unique; /* of the INIT request; 0: not seen, or done */
	uint64_t offered;     /* INIT flags the kernel has */
	uint64_t agreed;      /* those of them that were answered */
	uint32_t minor;       /* of the kernel's protocol */
};

/*
 * In the flags that a handler gets with write, open and create: clear suid,
 * sgid and capabilities, for the caller may not keep them.
 */
enum { PROTOCOL_KILL_PRIV = 1 << 30 };

/* A create with this name, which no file can have, is an O_TMPFILE. */
#define PROTOCOL_TMPFILE_NAME "/"

/*
 * Rewrite the request of *len bytes in place; `room` bytes of memory are
 * there.  Anything odd is left for libfuse to refuse.
 */
void protocol_adapt(struct protocol *protocol, void *request, size_t *len,
                    size_t room);

/*
 * What setxattr's handler got as name, in truth: protocol_adapt() leaves the
 * request in its long form, of which libfuse knows only the short one (but
 * 3.14.0, which knows only the long one).  *ret_kill_sgid: the ACL being
 * set takes away the set-group-ID bit.
 */
const char *protocol_setxattr_name(const char *name, bool *ret_kill_sgid);

/* The reply that is about to be written, if it is the one to INIT. */
void protocol_adapt_init_reply(struct protocol *protocol,
                               const struct iovec *iov, int count);

/* INIT flags without a name in older kernel headers. */
#define PROTOCOL_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)
#define PROTOCOL_HANDLE_KILLPRIV_V2 (UINT64_C(1) << 28)

/*
 * Make the kernel forget the attributes and ACLs of a node, and its pages from
 * `off` on, `len` bytes of them (0: to the end).  Waits for the locks of these
 * pages; with off -1, for attributes alone, it waits for nothing.
 * -ENOENT: the kernel has no such inode.
 */
int protocol_inval_inode(int fd, uint64_t ino, int64_t off, int64_t len);
/*
 * Tell the kernel that a file has the byte at `off`, which makes it as long as
 * that if it was shorter there.  Waits for the lock of the page.
 */
int protocol_store_byte(int fd, uint64_t ino, uint64_t off, uint8_t byte);
/*
 * Make the kernel forget what a name stands for: at once, or (expire, since
 * Linux 6.2) by asking at its next use, which leaves what is mounted there
 * alone. Waits for the directory's lock.
 */
int protocol_inval_entry(int fd, uint64_t parent, const char *name,
                         bool expire);

#endif
