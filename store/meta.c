/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The meta pages: see page.h for their format. */
#include "meta.h"

#include <errno.h>
#include <unistd.h>

#include "util.h"

enum {
	PAGE_META = 8,
	MAGIC_AT = PAGE_HEADER,
	VERSION_AT = PAGE_HEADER + 4,
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

static const char *meta_fault(const struct meta *meta)
{
	const uint8_t *dbs = meta->bytes + PAGE_HEADER + META_DBS;
	const char *what;

	if (le32_get(meta->bytes + MAGIC_AT) != magic ||
	    !(le16_get(meta->bytes + 10) & PAGE_META))
		return "is no meta page";
	if (le32_get(meta->bytes + VERSION_AT) != VERSION)
		return "is of another version of LMDB";
	if (le32_get(meta->bytes + PAGE_SIZE_AT) != DISK_PAGE)
		return "has another page size";
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
	return 0;
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

int metas_restore(int fd, const struct meta metas[METAS])
{
	const struct meta *newest = metas_newest(metas);
	int older = newest == &metas[0];
	ssize_t n;

	do
		n = pwrite(fd, metas[older].bytes, META_HEAD,
		           older * DISK_PAGE);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n < META_HEAD ? -EIO : 0;
}
