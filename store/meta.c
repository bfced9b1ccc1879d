/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The meta pages: see page.h for their format. */
#include "meta.h"

#include <errno.h>
#include <unistd.h>

#include "util.h"

enum {
	PAGE_META = 8,
	FLAGS_AT = 10,
	MAGIC_AT = PAGE_HEADER,
	VERSION_AT = PAGE_HEADER + 4,
	MAP_SIZE_AT = PAGE_HEADER + 16,
	PAGE_SIZE_AT = PAGE_HEADER + META_DBS,
	VERSION = 1,
};
static const uint32_t magic = 0xbeefc0de;

static const char *db_fault(const uint8_t *at, uint64_t last)
{
	struct page_tree tree = page_tree_get(at);

	if (tree.root != NO_PAGE && (tree.root < METAS || tree.root > last))
		return "has a root outside of the file";
	return page_tree_fault(&tree);
}

static bool is_meta(const struct meta *meta)
{
	return le32_get(meta->bytes + MAGIC_AT) == magic &&
	       le16_get(meta->bytes + FLAGS_AT) & PAGE_META;
}

static bool is_foreign(const struct meta *meta)
{
	return le32_get(meta->bytes + VERSION_AT) != VERSION ||
	       le32_get(meta->bytes + PAGE_SIZE_AT) != DISK_PAGE;
}

static const char *meta_fault(const struct meta *meta)
{
	const uint8_t *dbs = meta->bytes + PAGE_HEADER + META_DBS;
	const char *what;

	if (!is_meta(meta))
		return "is no meta page";
	if (is_foreign(meta))
		return "is of another version of LMDB, or page size";
	if (meta->last < METAS - 1 || meta->last >= DISK_MAP_SIZE / DISK_PAGE)
		return "has a bad number of pages";
	what = db_fault(dbs, meta->last);
	return what ? what : db_fault(dbs + DB_LEN, meta->last);
}

static int meta_read(int fd, int place, struct meta *meta)
{
	ssize_t n = pread(fd, meta->bytes, META_HEAD, place * DISK_PAGE);

	if (n < 0)
		return -errno;
	meta->fault = "is missing";
	if (n < META_HEAD)
		return 0;
	meta->txn = le64_get(meta->bytes + PAGE_HEADER + META_TXN);
	meta->last = le64_get(meta->bytes + PAGE_HEADER + META_LAST);
	meta->fault = meta_fault(meta);
	meta->foreign = is_meta(meta) && is_foreign(meta);
	meta->readable = is_meta(meta) && !is_foreign(meta);
	return 0;
}

static void le_put(uint8_t *p, uint64_t v, size_t len)
{
	v = htole64(v);
	memcpy(p, &v, len);
}

int metas_create(int fd, uint64_t map_size)
{
	uint8_t bytes[METAS * DISK_PAGE] = {0};
	ssize_t n;

	for (uint64_t i = 0; i < METAS; i++) {
		uint8_t *page = bytes + i * DISK_PAGE;
		uint8_t *dbs = page + PAGE_HEADER + META_DBS;

		le_put(page, i, 8);
		le_put(page + FLAGS_AT, PAGE_META, 2);
		le_put(page + MAGIC_AT, magic, 4);
		le_put(page + VERSION_AT, VERSION, 4);
		le_put(page + MAP_SIZE_AT, map_size, 8);
		le_put(page + PAGE_SIZE_AT, DISK_PAGE, 4);
		le_put(dbs + 4, MDB_INTEGERKEY, 2);
		le_put(dbs + DB_LEN - 8, NO_PAGE, 8);
		le_put(dbs + 2 * DB_LEN - 8, NO_PAGE, 8);
		le_put(page + PAGE_HEADER + META_LAST, METAS - 1, 8);
	}
	do
		n = pwrite(fd, bytes, sizeof(bytes), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n < (ssize_t)sizeof(bytes) ? -ENOSPC : 0;
}

int metas_read(int fd, struct meta ret_metas[METAS])
{
	int r = 0;

	memset(ret_metas, 0, METAS * sizeof(*ret_metas));
	for (int i = 0; r == 0 && i < METAS; i++)
		r = meta_read(fd, i, &ret_metas[i]);
	return r;
}

const struct meta *metas_newest(const struct meta metas[METAS])
{
	const struct meta *newest = NULL;

	for (int i = 0; i < METAS; i++)
		if (!metas[i].fault && (!newest || metas[i].txn > newest->txn))
			newest = &metas[i];
	return newest;
}

/* Return true if the bytes are the header of a page of LMDB. */
static bool is_page(const uint8_t *head, uint64_t number)
{
	unsigned type = le16_get(head + FLAGS_AT);

	return le64_get(head) == number &&
	       (type == PAGE_BRANCH || type == PAGE_LEAF ||
	        type == PAGE_OVERFLOW || type == PAGE_META);
}

bool metas_foreign(int fd, const struct meta metas[METAS])
{
	enum { PAGES_TRIED = 256 };
	uint8_t head[PAGE_HEADER];

	for (int i = 0; i < METAS; i++)
		if (metas[i].foreign)
			return true;
	for (uint64_t i = 0; i < PAGES_TRIED; i++)
		if (pread(fd, head, sizeof(head), (off_t)i * DISK_PAGE) ==
		            sizeof(head) &&
		    is_page(head, i))
			return false;
	return true;
}

static int meta_write(int fd, const uint8_t bytes[META_HEAD], int place)
{
	ssize_t n;

	do
		n = pwrite(fd, bytes, META_HEAD, place * DISK_PAGE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n < META_HEAD ? -EIO : 0;
}

int metas_mend(int fd)
{
	struct meta metas[METAS];
	const struct meta *good;
	uint8_t bytes[META_HEAD];
	uint64_t place;
	int r = metas_read(fd, metas);

	if (r < 0)
		return r;
	good = metas_newest(metas);
	if (!good)
		return -EUCLEAN;
	place = good == &metas[0];
	if (!metas[place].fault)
		return 0;
	memcpy(bytes, good->bytes, sizeof(bytes));
	le_put(bytes + PAGE_HEADER + META_TXN, good->txn - !!good->txn, 8);
	le_put(bytes, place, 8);
	r = meta_write(fd, bytes, (int)place);
	return r == 0 && fdatasync(fd) < 0 ? -errno : r;
}

int metas_copy(int fd, const struct meta *meta)
{
	uint8_t page[DISK_PAGE] = {0};
	int r = 0;

	memcpy(page, meta->bytes, META_HEAD);
	for (uint64_t i = 0; r == 0 && i < METAS; i++) {
		bool older = meta->txn && i != (meta->txn & 1);
		ssize_t n;

		le_put(page, i, 8);
		le_put(page + PAGE_HEADER + META_TXN, meta->txn - older, 8);
		do
			n = pwrite(fd, page, DISK_PAGE, (off_t)i * DISK_PAGE);
		while (n < 0 && errno == EINTR);
		if (n != DISK_PAGE)
			r = n < 0 ? -errno : -ENOSPC;
	}
	return r;
}

int metas_restore(int fd, const struct meta metas[METAS])
{
	int older = metas_newest(metas) == &metas[0];

	return meta_write(fd, metas[older].bytes, older);
}
