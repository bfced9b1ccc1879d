/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parts of the FUSE protocol that the kernel has and libfuse lacks.
 * Requests are rewritten before libfuse parses them, so that new ones arrive as
 * old ones.  The reply to INIT gets the flags that libfuse lacks.
 * Notifications are sent directly, because libfuse's prototype for one of them
 * differs between versions.
 */
#ifndef COPPICE_PROTOCOL_H
#define COPPICE_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct protocol {
	bool no_export;       /* refuse file handles */
	bool no_idmap;        /* the kernel does not check permissions */
	uint64_t init_unique; /* of the INIT request; 0: not seen, or replied */
	uint64_t offered;     /* INIT flags that the kernel offers */
	uint64_t agreed;      /* INIT flags of the reply */
	uint32_t minor;       /* of the kernel's protocol */
};

/*
 * A flag of the requests WRITE, OPEN and CREATE as handlers get them: clear
 * suid, sgid and capabilities.
 */
enum { PROTOCOL_KILL_PRIV = 1 << 30 };

/* A create with this name, which no file can have, is an O_TMPFILE request. */
#define PROTOCOL_TMPFILE_NAME "/"

/*
 * Rewrite the request of *len bytes in place; the buffer has `room` bytes.
 * Malformed requests are left for libfuse to refuse.
 */
void protocol_adapt(struct protocol *protocol, void *request, size_t *len,
                    size_t room);

/*
 * Return the name in a SETXATTR request, given the name that libfuse passes to
 * the handler.  After protocol_adapt() the request has the long format, but
 * libfuse parses the short one (except 3.14.0, which parses only the long one).
 * *ret_kill_sgid: setting this ACL drops the set-group-ID bit.
 */
const char *protocol_setxattr_name(const char *name, bool *ret_kill_sgid);

/*
 * Add flags to a reply that is about to be written, if it answers INIT.
 */
void protocol_adapt_init_reply(struct protocol *protocol,
                               const struct iovec *iov, int count);

/* INIT flags without a name in older kernel headers. */
#define PROTOCOL_DIRECT_IO_ALLOW_MMAP (UINT64_C(1) << 36)
#define PROTOCOL_HANDLE_KILLPRIV_V2 (UINT64_C(1) << 28)

/*
 * Invalidate the attributes and ACLs of a node, and `len` bytes of its pages
 * from `off` on (0: to the end).  Waits for the locks of these pages; with off
 * -1, invalidates the attributes alone and does not wait.  -ENOENT: the kernel
 * has no such inode.
 */
int protocol_inval_inode(int fd, uint64_t ino, int64_t off, int64_t len);
/*
 * Write the byte at `off` to the kernel's cache, which raises the kernel's size
 * of the file to off + 1 at least.  Waits for the lock of the page.
 */
int protocol_store_byte(int fd, uint64_t ino, uint64_t off, uint8_t byte);
/*
 * Invalidate a name in the kernel's cache: remove it at once, or (expire, since
 * Linux 6.2) let the kernel look it up again at its next use, which keeps
 * mounts below it.  Waits for the directory's lock.
 */
int protocol_inval_entry(int fd, uint64_t parent, const char *name,
                         bool expire);

#endif
