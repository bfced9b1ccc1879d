/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file in memory, and the mapping of data.mdb over its map. */
#include "shadow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk_env.h"
#include "util.h"

enum {
	ADDRESS_AT = PAGE_HEADER + 8, /* where to map, in a meta page */
	TXN_AT = PAGE_HEADER + META_TXN,
};

static void le64_put(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* Return the size of the file in memory, in whole pages of the system. */
static size_t shadow_len(void)
{
	return MAX((size_t)METAS * DISK_PAGE, (size_t)sysconf(_SC_PAGESIZE));
}

/* Return a file that begins like data.mdb but for its meta pages. */
static int shadow_make(int fd, const struct meta *meta, void *at)
{
	size_t len = shadow_len();
	_cleanup_free_ uint8_t *bytes = calloc(1, len);
	_cleanup_close_ int made = -1;

	if (!bytes)
		return -ENOMEM;
	if (pread(fd, bytes, len, 0) < 0)
		return -errno;
	for (uint64_t i = 0; i < METAS; i++) {
		uint8_t *page = bytes + i * DISK_PAGE;
		bool older = meta->txn && i != (meta->txn & 1);

		memcpy(page, meta->bytes, META_HEAD);
		le64_put(page, i);
		le64_put(page + ADDRESS_AT, (uint64_t)(uintptr_t)at);
		le64_put(page + TXN_AT, meta->txn - older);
	}
	made = memfd_create("coppice-meta", MFD_CLOEXEC);
	if (made < 0)
		return -errno;
	if (pwrite(made, bytes, len, 0) != (ssize_t)len)
		return -EIO;
	return steal_fd(&made);
}

/* Find free address space for the map. */
static void *shadow_place(size_t len)
{
	void *at = mmap(NULL, len, PROT_NONE,
	                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	munmap(at, len);
	return at;
}

/* Map the rest of the file, as far as there is one. */
static int shadow_cover(int fd, uint8_t *at)
{
	size_t len = shadow_len();
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((size_t)st.st_size <= len)
		return 0;
	return mmap(at + len, (size_t)st.st_size - len, PROT_READ,
	            MAP_SHARED | MAP_FIXED, fd, (off_t)len) == MAP_FAILED
	               ? -errno
	               : 0;
}

int shadow_open(struct disk *disk, const struct meta *meta,
                struct opening **ret_opening)
{
	void *at = shadow_place(disk->map_size);
	struct opening *opening = NULL;
	_cleanup_close_ int fd = -1;
	MDB_envinfo info;
	char path[32];
	int r;

	if (!at)
		return -ENOMEM;
	fd = shadow_make(disk->fd, meta, at);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = opening_create(disk, path,
	                   MDB_RDONLY | MDB_NOLOCK | MDB_NOSUBDIR |
	                           MDB_FIXEDMAP,
	                   &opening);
	if (r < 0)
		return r;
	mdb_env_info(opening->env, &info);
	r = info.me_mapaddr == at ? shadow_cover(disk->fd, at) : -ENOMEM;
	if (r < 0) {
		opening_destroy(opening);
		return r;
	}
	*ret_opening = opening;
	return 0;
}
