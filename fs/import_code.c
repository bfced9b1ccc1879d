/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The encoding of an import. */
#include "import_code.h"

#include <sys/stat.h>

static void time_put(struct writer *w, struct timestamp t)
{
	put_svarint(w, t.sec);
	put_varint(w, t.nsec);
}

static struct timestamp time_get(struct reader *r)
{
	int64_t sec = get_svarint(r);
	uint64_t nsec = get_varint(r);

	if (nsec >= 1000000000)
		r->bad = true;
	return (struct timestamp){sec, (uint32_t)nsec};
}

static uint32_t u32_get(struct reader *r)
{
	uint64_t number = get_varint(r);

	if (number > UINT32_MAX)
		r->bad = true;
	return (uint32_t)number;
}

static bool mode_is_good(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(mode & ~(uint32_t)(S_IFMT | 07777));
	default:
		return false;
	}
}

void import_attr_put(struct writer *w, const struct import_attr *attr)
{
	const struct inode *i = &attr->inode;

	put_varint(w, i->mode);
	put_varint(w, i->nlink);
	put_varint(w, i->uid);
	put_varint(w, i->gid);
	put_varint(w, i->size);
	time_put(w, i->atime);
	time_put(w, i->mtime);
	time_put(w, i->ctime);
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
		put_varint(w, i->rdev);
	if (import_is_linked(attr)) {
		put_varint(w, attr->dev);
		put_varint(w, attr->ino);
	}
}

void import_attr_get(struct reader *r, struct import_attr *ret)
{
	struct inode *i = &ret->inode;

	*ret = (struct import_attr){0};
	i->mode = u32_get(r);
	i->nlink = u32_get(r);
	i->uid = u32_get(r);
	i->gid = u32_get(r);
	i->size = get_varint(r);
	i->atime = time_get(r);
	i->mtime = time_get(r);
	i->ctime = time_get(r);
	if (S_ISCHR(i->mode) || S_ISBLK(i->mode))
		i->rdev = get_varint(r);
	if (import_is_linked(ret)) {
		ret->dev = get_varint(r);
		ret->ino = get_varint(r);
	}
	if (!mode_is_good(i->mode) || i->size > (UINT64_C(1) << 62))
		r->bad = true;
}

void import_bytes_put(struct writer *w, const void *data, size_t len)
{
	put_varint(w, len);
	put_bytes(w, data, len);
}

struct import_bytes import_bytes_get(struct reader *r)
{
	uint64_t len = get_varint(r);
	const uint8_t *data = NULL;

	if (len > reader_left(r))
		r->bad = true;
	else
		data = reader_take(r, len);
	return (struct import_bytes){data, r->bad ? 0 : len};
}

void import_name_get(struct reader *r, char ret_name[NAME_LEN_MAX + 1])
{
	struct import_bytes name = import_bytes_get(r);

	*ret_name = 0;
	if (r->bad || !name.len || name.len > NAME_LEN_MAX ||
	    memchr(name.data, 0, name.len) ||
	    memchr(name.data, '/', name.len)) {
		r->bad = true;
		return;
	}
	memcpy(ret_name, name.data, name.len);
	ret_name[name.len] = 0;
	if (!strcmp(ret_name, ".") || !strcmp(ret_name, ".."))
		r->bad = true;
}
