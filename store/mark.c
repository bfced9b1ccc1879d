/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Marks of the processes that read a store, and claims of the one that writes
 * to it: shared and exclusive open file description locks on bytes of the file
 * `readers`, which is always empty.  Byte 0 is marked by each reader as long as
 * it has the store open.
 */
#include "mark.h"

#include <errno.h>
#include <fcntl.h>

#include "array.h"
#include "engine.h"

enum {
	PRESENT = 0,
	/* To set a lock, the kernel looks at all locks of the file. */
	CLAIMS_MOST = 1024,
};

/* Set or remove a lock.  -EBUSY: another process has one that excludes it. */
static int mark_lock(const struct store *store, short type, uint64_t number)
{
	struct flock lock = {
	        .l_type = type,
	        .l_whence = SEEK_SET,
	        .l_start = (off_t)number,
	        .l_len = 1,
	};

	if (fcntl(store->marks_fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

static bool mark_is_locked(const struct store *store, uint64_t number)
{
	struct flock lock = {
	        .l_type = F_WRLCK,
	        .l_whence = SEEK_SET,
	        .l_start = (off_t)number,
	        .l_len = 1,
	};

	return store->marks_fd >= 0 &&
	       fcntl(store->marks_fd, F_OFD_GETLK, &lock) == 0 &&
	       lock.l_type != F_UNLCK;
}

int marks_open(struct store *store)
{
	_cleanup_free_ char *name = NULL;

	if (store->options.readonly && !store->options.beside)
		return 0;
	if (asprintf(&name, "%s/readers", store->path) < 0)
		return name = NULL, -ENOMEM;
	store->marks_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->marks_fd < 0)
		return -errno;
	return store->options.beside ? mark_lock(store, F_RDLCK, PRESENT) : 0;
}

int store_mark(struct store *store, uint64_t number)
{
	return mark_lock(store, F_RDLCK, number);
}

void store_unmark(struct store *store, uint64_t number)
{
	mark_lock(store, F_UNLCK, number);
}

bool store_has_readers(const struct store *store)
{
	return mark_is_locked(store, PRESENT);
}

bool store_is_marked(const struct store *store, uint64_t number)
{
	return mark_is_locked(store, number);
}

/* ---- Claims ------------------------------------------------------------- */

/* Drop the claims whose group is on disk.  They are in the groups' order. */
static void claims_expire(struct store *store)
{
	size_t n = 0;

	while (n < store->claims_len &&
	       store->claims[n].txg <= store->durable_txg)
		mark_lock(store, F_UNLCK, store->claims[n++].number);
	if (!n)
		return;
	store->claims_len -= n;
	memmove(store->claims, store->claims + n,
	        store->claims_len * sizeof(*store->claims));
}

int store_claim(struct store *store, uint64_t number)
{
	struct claim *claim;
	int r;

	claims_expire(store);
	if (store->claims_len >= CLAIMS_MOST)
		return -EAGAIN;
	claim = array_add(&store->claims, &store->claims_len,
	                  &store->claims_room);
	if (!claim)
		return -ENOMEM;
	*claim = (struct claim){number, store->open_txg->number};
	r = mark_lock(store, F_WRLCK, number);
	if (r < 0)
		store->claims_len--;
	return r;
}

void store_unclaim(struct store *store)
{
	mark_lock(store, F_UNLCK, store->claims[--store->claims_len].number);
}

int marks_shut(struct store *store)
{
	return mark_lock(store, F_WRLCK, PRESENT);
}

void marks_open_again(struct store *store)
{
	mark_lock(store, F_UNLCK, PRESENT);
}

/* ---- Newer commits ------------------------------------------------------ */

void store_on_newer(struct store *store, void (*fn)(void *arg), void *arg)
{
	store->newer_fn = fn;
	store->newer_arg = arg;
}

bool view_is_newest(struct store *store)
{
	MDB_envinfo info;

	/* There is one opening: a read-only environment is never replaced. */
	mdb_env_info(store->disk.opening->env, &info);
	return info.me_last_txnid == store->seen_txn;
}

bool store_view(struct store *store, uint64_t *ret_commit)
{
	*ret_commit = store->seen_txn;
	return view_is_newest(store);
}

void view_renew(struct store *store)
{
	MDB_txn *txn;
	size_t id;

	if (store_reader(store, &txn) < 0)
		return;
	id = mdb_txn_id(txn);
	if (id == store->seen_txn)
		return;
	store->seen_txn = id;
	/* A node of a head may have changed under its number. */
	block_forget_nodes(store);
	if (store->newer_fn)
		store->newer_fn(store->newer_arg);
}
