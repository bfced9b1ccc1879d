/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "protocol.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* Since protocol 7.33, 7.37 and 7.38; headers may be older. */
enum {
	OPCODE_TMPFILE = 51,
	OPEN_KILL_SUIDGID = 1 << 0,
	SETXATTR_SHORT = 8, /* bytes of the request before its name */
	SETXATTR_LONG = 16,
	SETXATTR_KILL_SGID = 1 << 0,
	EXPIRE_ONLY = 1 << 0,
};

#define INIT_SETXATTR_EXT (UINT64_C(1) << 29)
#define INIT_OVER_IO_URING (UINT64_C(1) << 41)
#define INIT_EXT (UINT64_C(1) << 30)
#define INIT_ALLOW_IDMAP (UINT64_C(1) << 40) /* since 7.41 */
#define INIT_NO_EXPORT (UINT64_C(1) << 38)   /* since 7.40 */

/*
 * Flags that are requested in addition to libfuse's.  PARALLEL_DIROPS is one
 * because some versions of libfuse define the flag and do not send it.
 */
#define INIT_WANTED                                                            \
	(FUSE_PARALLEL_DIROPS | PROTOCOL_HANDLE_KILLPRIV_V2 |                  \
	 INIT_SETXATTR_EXT | PROTOCOL_DIRECT_IO_ALLOW_MMAP | INIT_ALLOW_IDMAP)

static void adapt_init(struct protocol *protocol,
                       const struct fuse_in_header *in, void *arg, size_t len)
{
	struct fuse_init_in init = {0};

	memcpy(&init, arg, MIN(len, sizeof(init)));
	protocol->init_unique = in->unique;
	protocol->minor = init.minor;
	protocol->offered = init.flags;
	if (!(init.flags & INIT_EXT))
		return;
	/* Requests in a ring would bypass session_handle(). */
	init.flags2 &= ~(uint32_t)(INIT_OVER_IO_URING >> 32);
	protocol->offered |= (uint64_t)init.flags2 << 32;
	memcpy(arg, &init, MIN(len, sizeof(init)));
}

/* Convert the short format to the long one. */
static void adapt_setxattr(struct fuse_in_header *in, uint8_t *arg, size_t *len,
                           size_t room)
{
	size_t arg_len = *len - sizeof(*in);

	if (arg_len < SETXATTR_SHORT || *len + 8 > room)
		return;
	memmove(arg + SETXATTR_LONG, arg + SETXATTR_SHORT,
	        arg_len - SETXATTR_SHORT);
	memset(arg + SETXATTR_SHORT, 0, SETXATTR_LONG - SETXATTR_SHORT);
	*len += SETXATTR_LONG - SETXATTR_SHORT;
	in->len = (uint32_t)*len;
}

void protocol_adapt(struct protocol *protocol, void *request, size_t *len,
                    size_t room)
{
	struct fuse_in_header *in = request;
	void *arg = in + 1;
	size_t arg_len;

	if (*len < sizeof(*in))
		return;
	arg_len = *len - sizeof(*in);
	switch (in->opcode) {
	case FUSE_INIT:
		adapt_init(protocol, in, arg, arg_len);
		break;
	case FUSE_WRITE:
		if (arg_len >= sizeof(struct fuse_write_in)) {
			struct fuse_write_in *write_in = arg;

			if (write_in->write_flags & FUSE_WRITE_KILL_SUIDGID)
				write_in->flags |= PROTOCOL_KILL_PRIV;
		}
		break;
	case FUSE_OPEN:
		if (arg_len >= sizeof(struct fuse_open_in)) {
			struct fuse_open_in *open_in = arg;

			if (open_in->open_flags & OPEN_KILL_SUIDGID)
				open_in->flags |= PROTOCOL_KILL_PRIV;
		}
		break;
	case OPCODE_TMPFILE:
		in->opcode = FUSE_CREATE;
		/* fall through */
	case FUSE_CREATE:
		if (arg_len >= sizeof(struct fuse_create_in)) {
			struct fuse_create_in *create_in = arg;

			if (create_in->open_flags & OPEN_KILL_SUIDGID)
				create_in->flags |= PROTOCOL_KILL_PRIV;
		}
		break;
	case FUSE_SETXATTR:
		if (!(protocol->agreed & INIT_SETXATTR_EXT))
			adapt_setxattr(in, arg, len, room);
		break;
	default:
		break;
	}
}

const char *protocol_setxattr_name(const char *name, bool *ret_kill_sgid)
{
	uint32_t flags;

	/*
	 * No name is empty or begins with \1: such a byte is the lowest of the
	 * long format's flags, which are eight bytes before the name.
	 */
	if (name[0] == 0 || name[0] == SETXATTR_KILL_SGID)
		name += SETXATTR_LONG - SETXATTR_SHORT;
	memcpy(&flags, name - (SETXATTR_LONG - SETXATTR_SHORT), sizeof(flags));
	*ret_kill_sgid = flags & SETXATTR_KILL_SGID;
	return name;
}

void protocol_adapt_init_reply(struct protocol *protocol,
                               const struct iovec *iov, int count)
{
	const struct fuse_out_header *header = iov[0].iov_base;
	struct fuse_init_out *out;
	uint64_t flags;

	if (!protocol->init_unique || header->unique != protocol->init_unique)
		return;
	protocol->init_unique = 0;
	if (header->error || count < 2 || iov[1].iov_len < sizeof(*out))
		return;
	out = iov[1].iov_base;
	flags = (protocol->offered & INIT_WANTED) | out->flags |
	        (uint64_t)out->flags2 << 32;
	if (flags & PROTOCOL_HANDLE_KILLPRIV_V2)
		flags &= ~(uint64_t)FUSE_HANDLE_KILLPRIV;
	else
		flags |= protocol->offered & FUSE_HANDLE_KILLPRIV;
	if (protocol->no_idmap)
		flags &= ~INIT_ALLOW_IDMAP;
	if (protocol->no_export) {
		flags &= ~(uint64_t)FUSE_EXPORT_SUPPORT;
		flags |= protocol->offered & INIT_NO_EXPORT;
	}
	if (protocol->offered & INIT_EXT)
		flags |= INIT_EXT;
	out->flags = (uint32_t)flags;
	out->flags2 = (uint32_t)(flags >> 32);
	protocol->agreed = flags;
}

static int notify(int fd, int code, struct iovec *iov, int count)
{
	struct fuse_out_header header = {.error = code};
	size_t len = sizeof(header);

	iov[0] = (struct iovec){&header, sizeof(header)};
	for (int i = 1; i < count; i++)
		len += iov[i].iov_len;
	header.len = (uint32_t)len;
	return writev(fd, iov, count) < 0 ? -errno : 0;
}

int protocol_inval_inode(int fd, uint64_t ino, int64_t off, int64_t len)
{
	struct fuse_notify_inval_inode_out out = {
	        .ino = ino,
	        .off = off,
	        .len = len,
	};
	struct iovec iov[2] = {[1] = {&out, sizeof(out)}};

	return notify(fd, FUSE_NOTIFY_INVAL_INODE, iov, 2);
}

int protocol_store_byte(int fd, uint64_t ino, uint64_t off, uint8_t byte)
{
	struct fuse_notify_store_out out = {
	        .nodeid = ino,
	        .offset = off,
	        .size = sizeof(byte),
	};
	struct iovec iov[3] = {
	        [1] = {&out, sizeof(out)},
	        [2] = {&byte, sizeof(byte)},
	};

	return notify(fd, FUSE_NOTIFY_STORE, iov, 3);
}

int protocol_inval_entry(int fd, uint64_t parent, const char *name, bool expire)
{
	size_t len = strlen(name);
	struct fuse_notify_inval_entry_out out = {.parent = parent,
	                                          .namelen = (uint32_t)len};
	struct iovec iov[3] = {
	        [1] = {&out, sizeof(out)},
	        [2] = {(void *)(uintptr_t)name, len + 1},
	};
	uint32_t flags = expire ? EXPIRE_ONLY : 0;

	/* Older headers call the field `padding`. */
	memcpy((uint8_t *)&out + 12, &flags, sizeof(flags));
	return notify(fd, FUSE_NOTIFY_INVAL_ENTRY, iov, 3);
}
