/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "batch_code.h"

#include <errno.h>
#include <stdlib.h>

#include "codec.h"
#include "fs.h"
#include "util.h"

enum {
	MAGIC = 0x43704261,
	VERSION = 1,
	HEADER_LEN = 8,
	FIXED_MAX = 32, /* bytes of an operation besides paths and value */
	PATH_LEN_MAX = TREE_PATH_SIZE - 1,
	FLAGS_KNOWN = BATCH_PARENTS | BATCH_RECURSIVE | BATCH_LENIENT,
	MODE_BITS = 07777,
};

/* The longest value, in bytes. */
#define VALUE_MAX (UINT64_C(1) << 32)

/* ---- Paths -------------------------------------------------------------- */

static int path_check(const char *path, size_t len)
{
	size_t start = 0;

	if (!len || memchr(path, 0, len))
		return -EINVAL;
	if (len > PATH_LEN_MAX)
		return -ENAMETOOLONG;
	for (size_t i = 0; i <= len; i++) {
		size_t part = i - start;

		if (i < len && path[i] != '/')
			continue;
		if (part > NAME_LEN_MAX)
			return -ENAMETOOLONG;
		if (!part || (part <= 2 && !memcmp(path + start, "..", part)))
			return -EINVAL;
		start = i + 1;
	}
	return 0;
}

int batch_path(const char *text, const char **ret_path, uint16_t *ret_len)
{
	size_t len;
	int err;

	while (*text == '/')
		text++;
	len = strlen(text);
	while (len && text[len - 1] == '/')
		len--;
	err = path_check(text, len);
	if (err)
		return err;
	*ret_path = text;
	*ret_len = (uint16_t)len;
	return 0;
}

/* ---- Writing ------------------------------------------------------------ */

void batch_bytes_release(struct batch_bytes *bytes)
{
	free(bytes->data);
	*bytes = (struct batch_bytes){0};
}

static int bytes_reserve(struct batch_bytes *bytes, uint64_t more)
{
	uint64_t need = bytes->len + more, room = MAX(bytes->room, 4096u);
	uint8_t *data;

	if (need <= bytes->room)
		return 0;
	while (room < need)
		room *= 2;
	data = realloc(bytes->data, room);
	if (!data)
		return -ENOMEM;
	bytes->data = data;
	bytes->room = room;
	return 0;
}

static void put_path(struct writer *w, const char *path, uint16_t len)
{
	put_u16(w, len);
	put_bytes(w, path, len);
}

static int op_check(const struct batch_op *op)
{
	int err = 0;

	if (op->kind >= BATCH_PUT)
		err = path_check(op->path, op->path_len);
	if (!err && op->kind == BATCH_RENAME)
		err = path_check(op->to, op->to_len);
	return err ? err : op->len > VALUE_MAX ? -EFBIG : 0;
}

int batch_bytes_add(struct batch_bytes *bytes, const struct batch_op *op)
{
	struct writer w;
	int err = op_check(op);

	if (!err)
		err = bytes_reserve(bytes, HEADER_LEN + FIXED_MAX +
		                                   op->path_len + op->to_len +
		                                   op->len);
	if (err)
		return err;
	w = writer_init(bytes->data + bytes->len, bytes->room - bytes->len);
	if (!bytes->len) {
		put_u32(&w, MAGIC);
		put_u16(&w, VERSION);
		put_u16(&w, 0);
	}
	put_u8(&w, op->kind);
	put_u8(&w, op->flags);
	if (op->kind == BATCH_STATE) {
		put_u64(&w, op->number);
		put_u32(&w, op->generation);
	} else if (op->kind == BATCH_MODE) {
		put_u32(&w, op->uid);
		put_u32(&w, op->gid);
		put_u16(&w, op->file_mode);
		put_u16(&w, op->dir_mode);
	} else {
		put_path(&w, op->path, op->path_len);
	}
	if (op->kind == BATCH_RENAME)
		put_path(&w, op->to, op->to_len);
	if (op->kind == BATCH_PUT) {
		put_u64(&w, op->len);
		put_bytes(&w, op->value, op->len);
	}
	bytes->len += writer_len(&w);
	return 0;
}

/* ---- Reading ------------------------------------------------------------ */

int batch_reader_init(struct batch_reader *reader, const void *data, size_t len)
{
	struct reader r = reader_init(data, len);
	uint32_t magic = get_u32(&r);
	uint16_t version = get_u16(&r), zero = get_u16(&r);

	if (r.bad || magic != MAGIC || zero)
		return -EPROTO;
	if (version != VERSION)
		return -EPROTONOSUPPORT;
	*reader = (struct batch_reader){r.at, r.end};
	return 0;
}

static const char *get_path(struct reader *r, uint16_t *ret_len)
{
	const uint8_t *path;

	*ret_len = get_u16(r);
	path = reader_take(r, *ret_len);
	if (path && path_check((const char *)path, *ret_len))
		r->bad = true;
	return (const char *)path;
}

int batch_reader_next(struct batch_reader *reader, struct batch_op *ret_op)
{
	struct reader r = {reader->at, reader->end, false};
	struct batch_op op = {0};

	if (r.at == r.end)
		return 0;
	op.kind = get_u8(&r);
	op.flags = get_u8(&r);
	if (op.kind < BATCH_STATE || op.kind > BATCH_MKDIR ||
	    op.flags & ~FLAGS_KNOWN)
		return -EPROTO;
	if (op.kind == BATCH_STATE) {
		op.number = get_u64(&r);
		op.generation = get_u32(&r);
	} else if (op.kind == BATCH_MODE) {
		op.uid = get_u32(&r);
		op.gid = get_u32(&r);
		op.file_mode = get_u16(&r);
		op.dir_mode = get_u16(&r);
		if ((op.file_mode | op.dir_mode) & ~MODE_BITS)
			return -EPROTO;
	} else {
		op.path = get_path(&r, &op.path_len);
	}
	if (op.kind == BATCH_RENAME)
		op.to = get_path(&r, &op.to_len);
	if (op.kind == BATCH_PUT) {
		op.len = get_u64(&r);
		if (op.len > VALUE_MAX)
			return -EPROTO;
		op.value = reader_take(&r, op.len);
	}
	if (r.bad)
		return -EPROTO;
	reader->at = r.at;
	*ret_op = op;
	return 1;
}
