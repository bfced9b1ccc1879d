/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The encoding of a batch of changes: one string of bytes, written by a program
 * and read by the process that has the store open, which may be the same one.
 *
 *   u32 magic, u16 version, u16 0
 *   then operations, each u8 kind, u8 flags, and by its kind:
 *   STATE   u64 number, u32 generation    the following change this fork
 *   MODE    u32 uid, u32 gid, u16 of files, u16 of directories
 *                                         the following create with these
 *   PUT     u16 length, path, u64 length, value
 *   DELETE  u16 length, path
 *   RENAME  u16 length, path, u16 length, new path
 *   MKDIR   u16 length, path
 *
 * A path has no slash at either end and no component that is empty, ".", ".."
 * or longer than NAME_LEN_MAX.
 */
#ifndef COPPICE_BATCH_CODE_H
#define COPPICE_BATCH_CODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum batch_kind {
	BATCH_STATE = 1,
	BATCH_MODE,
	BATCH_PUT,
	BATCH_DELETE,
	BATCH_RENAME,
	BATCH_MKDIR,
};

enum batch_flags {
	BATCH_PARENTS = 1,   /* make missing directories of the (new) path */
	BATCH_RECURSIVE = 2, /* DELETE: a directory with everything in it */
	BATCH_LENIENT = 4,   /* DELETE: a missing path is no error; MKDIR: an
	                        existing directory is no error */
};

/* One operation.  The pointers point into the encoded bytes. */
struct batch_op {
	uint8_t kind;
	uint8_t flags;
	uint16_t path_len, to_len;
	uint32_t generation;
	uint32_t uid, gid;
	uint16_t file_mode, dir_mode;
	const char *path, *to; /* not terminated */
	const uint8_t *value;
	uint64_t len; /* of the value, in bytes */
	uint64_t number;
};

/* A batch that is being encoded.  All zero at first. */
struct batch_bytes {
	uint8_t *data;
	size_t len, room;
};

void batch_bytes_release(struct batch_bytes *bytes);
/*
 * Append an operation.  -EINVAL, -ENAMETOOLONG: a path is not valid; -EFBIG:
 * the value is too long; -ENOMEM.  After an error nothing is appended.
 */
int batch_bytes_add(struct batch_bytes *bytes, const struct batch_op *op);

/*
 * Set *ret_path to the text without leading and trailing slashes, and check it.
 * -EINVAL: the path is not valid, or empty (the root); -ENAMETOOLONG.
 */
int batch_path(const char *text, const char **ret_path, uint16_t *ret_len);

/* A position in encoded bytes. */
struct batch_reader {
	const uint8_t *at, *end;
};
/* Begin to read.  -EPROTO: not a batch; -EPROTONOSUPPORT: a newer version. */
int batch_reader_init(struct batch_reader *reader, const void *data,
                      size_t len);
/* Read the next operation.  1: read; 0: there is none; -EPROTO. */
int batch_reader_next(struct batch_reader *reader, struct batch_op *ret_op);

#endif
